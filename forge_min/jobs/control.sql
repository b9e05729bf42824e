The statements of control.py: lists of jobs, one job, retry, cancel, discard, queues and figures.

-- Jobs as JSON. ids, states, queue, kind, tag: null = any. before: only ids below this one.
-- name: list
select to_jsonb(j) - 'errors' || jsonb_build_object('error', errors -> -1 ->> 'error') from forge_job j
where (%(ids)s::bigint[] is null or id = any(%(ids)s::bigint[]))
  and (%(states)s::text[] is null or state = any(%(states)s::text[]))
  and (%(queue)s::text is null or queue = %(queue)s)
  and (%(kind)s::text is null or kind = %(kind)s)
  and (%(tag)s::text is null or %(tag)s = any(tags))
  and (%(before)s::bigint is null or id < %(before)s)
order by id desc
limit %(limit)s

-- name: show
select to_jsonb(j) || jsonb_build_object('worker', (select jsonb_build_object('host', host, 'pid', pid)
  from forge_worker w where w.id = j.worker_id and j.state = 'running'))
from forge_job j where id = %(id)s

-- Resets jobs, except their attempts and errors. A job without attempts left gets one more. Running jobs are not
-- changed, nor unique jobs while another job with their key waits or runs.
-- name: retry
update forge_job j set state = 'available', scheduled_at = now(), finalized_at = null, cancel_requested_at = null,
  max_attempts = greatest(max_attempts, attempt + 1)
where id = any(%(ids)s::bigint[]) and state not in ('running', 'available') and attempt < 32767
  and (unique_key is null or not exists (
    select from forge_job other
    where other.unique_key = j.unique_key and other.id <> j.id
      and (other.state in ('available', 'scheduled', 'running', 'retryable')
        or other.state = any(other.unique_states)
        or (other.id > j.id and other.id = any(%(ids)s::bigint[])))
    union all
    select from forge_job other
    where other.begun_key = j.unique_key and other.state in ('available', 'scheduled', 'retryable')))
returning id, queue, state

-- Running jobs are asked to end.
-- name: cancel
update forge_job set
  state = case when state = 'running' then state else 'cancelled' end,
  finalized_at = case when state <> 'running' then now() end,
  cancel_requested_at = now()
where id = any(%(ids)s::bigint[]) and state in ('available', 'scheduled', 'retryable', 'running')
returning id, queue, state

-- name: discard
with ended as (
  update forge_job set state = 'discarded', finalized_at = now(),
    errors = errors || jsonb_build_array(jsonb_build_object(
      'error', 'discarded by hand', 'at', now(), 'attempt', attempt))
  where id = any(%(ids)s::bigint[]) and state in ('available', 'scheduled', 'retryable')
  returning *
),
$notice
select id, queue, state from ended

-- name: states
select id, state from forge_job where id = any(%(ids)s::bigint[])

-- name: pause
insert into forge_queue (name, paused_at) values (%(queue)s, now())
on conflict (name) do update set paused_at = coalesce(forge_queue.paused_at, now())

-- name: resume
update forge_queue set paused_at = null where name = %(queue)s

-- name: limit
insert into forge_queue (name, max_running, max_per_key, rate_count, rate_seconds)
values (%(queue)s, %(max_running)s, %(max_per_key)s, %(rate_count)s, %(rate_seconds)s)
on conflict (name) do update set max_running = excluded.max_running, max_per_key = excluded.max_per_key,
  rate_count = excluded.rate_count, rate_seconds = excluded.rate_seconds, tokens = null, refilled_at = null

-- Queues that were paused, limited or counted, or that a living worker has.
-- name: queues
with known as (
  select name from forge_queue
  union
  select jsonb_object_keys(queues) from forge_worker where expires_at > now()
),
done as (
  select queue, sum(completed) as completed, sum(failed) as failed, sum(seconds) as seconds
  from forge_job_minute where minute > now() - interval '60 minutes' group by queue
)
select jsonb_build_object('name', k.name, 'paused_at', q.paused_at, 'max_running', q.max_running,
  'max_per_key', q.max_per_key, 'rate_count', q.rate_count, 'rate_seconds', q.rate_seconds,
  'counts', coalesce(q.counts, '{}') - 'oldest', 'oldest_seconds', coalesce((q.counts ->> 'oldest')::float8, 0),
  'counted_at', q.counted_at,
  'completed_per_hour', coalesce(d.completed, 0), 'failed_per_hour', coalesce(d.failed, 0),
  'seconds_per_hour', coalesce(d.seconds, 0))
from known k left join forge_queue q on q.name = k.name left join done d on d.queue = k.name
order by k.name

-- name: workers
select jsonb_build_object('id', w.id, 'host', host, 'pid', pid, 'queues', queues, 'kinds', kinds,
  'started_at', started_at, 'alive', expires_at > now(),
  'leader', exists (select from forge_leader l where l.name = 'jobs' and l.worker_id = w.id and l.expires_at > now()),
  'running', coalesce((select jsonb_agg(jsonb_build_object('id', j.id, 'kind', j.kind, 'queue', j.queue,
      'seconds', extract(epoch from now() - j.attempted_at)::float8,
      'cancelling', j.cancel_requested_at is not null) order by j.attempted_at)
    from (select * from forge_job j where j.state = 'running' and j.worker_id = w.id limit 100) j), '[]'))
from forge_worker w order by started_at

-- The last hour, oldest first.
-- name: minutes
select queue, extract(epoch from minute)::bigint, completed, failed, seconds
from forge_job_minute where minute > now() - interval '60 minutes' order by minute, queue

-- Kinds of waiting jobs that no living worker has.
-- name: unknown
select kind from (
  select kind from (select kind from forge_job where state = 'available' limit 10000) seen
  union
  select kind from (select kind from forge_job where state in ('scheduled', 'retryable') limit 10000) later) waiting
where not exists (select from forge_worker where expires_at > now() and kind = any(kinds)) order by kind

-- Queues with waiting jobs that no living worker has.
-- name: unworked
with recursive waiting(queue) as (
  (select queue from forge_job where state = 'available' order by queue limit 1)
  union all
  select (select j.queue from forge_job j where j.state = 'available' and j.queue > w.queue order by j.queue limit 1)
  from waiting w where w.queue is not null
)
select queue from waiting
where queue is not null and not exists (
  select from forge_worker where expires_at > now() and jsonb_exists(queues, queue))

-- Jobs discarded within a day, by kind.
-- name: discarded
select jsonb_build_object('kind', kind, 'count', count(*)) from (
  select kind from forge_job
  where state = 'discarded' and coalesce(finalized_at, scheduled_at) > now() - interval '1 day' limit 10000) recent
group by kind order by count(*) desc, kind

-- name: served
select distinct jsonb_object_keys(queues) from forge_worker where expires_at > now()

-- name: alive
select count(*) from forge_worker where expires_at > now()

-- Runs of dead workers, and runs beyond their time limit.
-- name: stuck
select jsonb_build_object('id', j.id, 'kind', j.kind, 'queue', j.queue, 'dead', w.id is null,
  'seconds', extract(epoch from now() - j.attempted_at)::float8)
from forge_job j left join forge_worker w on w.id = j.worker_id and w.expires_at > now()
where j.state = 'running' and (w.id is null or j.attempted_at < now() - interval '1 second'
  * (%(grace)s::float8 + coalesce((%(timeouts)s::jsonb ->> j.kind)::float8, %(timeout)s::float8)))
order by j.attempted_at limit 100

-- The table and its indexes: bytes, and the work left for vacuum.
-- name: storage
select jsonb_build_object(
  'table_bytes', pg_relation_size('forge_job'),
  'live_rows', s.n_live_tup, 'dead_rows', s.n_dead_tup, 'last_autovacuum', s.last_autovacuum,
  'indexes', (select jsonb_object_agg(c.relname, jsonb_build_object('bytes', pg_relation_size(c.oid),
      'rows', greatest(c.reltuples, 0), 'scans', i.idx_scan) order by c.relname)
    from pg_stat_user_indexes i join pg_class c on c.oid = i.indexrelid where i.relname = 'forge_job'))
from pg_stat_user_tables s where s.relname = 'forge_job'

-- name: periodic
select to_jsonb(p) from forge_periodic p order by name

-- Jobs of each queue and state, from the last count of the leader.
-- name: counted
select q.name, c.key, c.value::text::float8 from forge_queue q, jsonb_each(q.counts) c where c.key <> 'oldest'
