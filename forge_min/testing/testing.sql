What tests ask of a database: the queue, the event log.

-- Queues with a job that a worker would run now, among those that are asked about.
-- name: waiting
select distinct queue from forge_job
where kind = any(%(kinds)s::text[]) and (%(queues)s::text[] is null or queue = any(%(queues)s::text[]))
  and (state in ('available', 'running') or state in ('scheduled', 'retryable') and scheduled_at <= now());

-- name: failures
select kind || ' (job ' || id || '): ' || coalesce(errors -> -1 ->> 'error', state)
from forge_job where id = any(%(ids)s::bigint[]) order by id;

-- name: position
select pg_current_snapshot()::text;

-- name: events
select topic, kind, resource_id, version, coalesce(changed, '{}'), payload, tenant_id, id, 0, created_at
from forge_event
where %(since)s::text is null or not pg_visible_in_snapshot(xid, %(since)s::text::pg_snapshot)
order by id;
