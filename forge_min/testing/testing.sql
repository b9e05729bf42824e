The statements of forge_min.testing: copies of a template, the queue, the event log.

-- Whether the template exists, and how to copy it: copied files are twice as fast as logged pages, unless each is
-- synced.
-- name: template
select exists (select from pg_database where datname = %s),
  case current_setting('fsync') when 'off' then 'file_copy' else 'wal_log' end;

-- name: sessions
select pid from pg_stat_activity where datname = %s and usename is not null;

-- name: end_sessions
select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = %s and usename = current_user;

-- Queues with a job that a worker would run now; of some queues, or of all.
-- name: waiting
select distinct queue from forge_job
where kind = any(%(kinds)s::text[]) and (%(queues)s::text[] is null or queue = any(%(queues)s::text[]))
  and (state in ('available', 'running') or state in ('scheduled', 'retryable') and scheduled_at <= now());

-- Claims the next due job.
-- name: take
update forge_job set state = 'running', attempt = attempt + 1, attempted_at = now(), worker_id = %(worker)s,
  claim = nextval('forge_job_claim')
where id = (
  select id from forge_job
  where kind = any(%(kinds)s::text[]) and (%(queues)s::text[] is null or queue = any(%(queues)s::text[]))
    and (state = 'available' or state in ('scheduled', 'retryable') and scheduled_at <= now())
  order by priority, scheduled_at, id limit 1 for update skip locked)
returning id, kind, queue, args, attempt, max_attempts, claim, metadata, created_at, scheduled_at, priority

-- name: enqueued
select to_jsonb(j) from forge_job j
where kind = %(kind)s and args @> %(args)s::jsonb
  and state in ('available', 'scheduled', 'running', 'retryable') order by id

-- Moves due times back. Periodic jobs lose their unique key, so that a run at the same time can be inserted again.
-- name: travel
with jobs as (
  update forge_job set
    scheduled_at = scheduled_at - case when state in ('scheduled', 'retryable') then %(seconds)s else 0 end
      * interval '1 second',
    unique_key = case when unique_key like 'periodic:%%' then null else unique_key end
  where state in ('scheduled', 'retryable') or unique_key like 'periodic:%%'
)
update forge_periodic set due_at = due_at - %(seconds)s * interval '1 second'

-- name: lead
insert into forge_leader (name, worker_id, expires_at) values ('jobs', %(worker)s, now() + interval '1 minute')
on conflict (name) do update set worker_id = excluded.worker_id, expires_at = excluded.expires_at

-- name: follow
delete from forge_leader where worker_id = %(worker)s

-- The errors of these jobs, and the due jobs without a worker.
-- name: failures
select kind || ' (job ' || id || '): ' || case when id = any(%(ids)s::bigint[])
  then coalesce(errors -> -1 ->> 'error', state) else 'no worker has this kind' end
from forge_job
where id = any(%(ids)s::bigint[])
  or kind <> all(%(kinds)s::text[]) and (%(queues)s::text[] is null or queue = any(%(queues)s::text[]))
    and (state = 'available' or state in ('scheduled', 'retryable') and scheduled_at <= now())
order by id;

-- A snapshot without the current transaction, because its events are not committed.
-- name: position
select case when own < pg_snapshot_xmax(seen)
  then concat_ws(':', least(own, pg_snapshot_xmin(seen)), pg_snapshot_xmax(seen),
    (select string_agg(xid::text, ',' order by xid)
     from (select own union select pg_snapshot_xip(seen)) running(xid)))
  else seen::text end
from (select pg_current_snapshot(), pg_current_xact_id_if_assigned()) now(seen, own);

-- name: events
select topic, kind, resource_id, version, coalesce(changed, '{}'), payload, tenant_id, id, 0, created_at
from forge_event
where %(since)s::text is null or not pg_visible_in_snapshot(xid, %(since)s::text::pg_snapshot)
order by id;
