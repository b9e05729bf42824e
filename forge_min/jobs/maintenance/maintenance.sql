The statements of the leader. Each checks that this worker is the leader.

-- A new or changed schedule begins with its next run.
-- name: register
insert into forge_periodic as p (name, schedule, due_at) values (%(name)s, %(schedule)s, %(due_at)s)
on conflict (name) do update set schedule = excluded.schedule, due_at = excluded.due_at
where p.schedule <> excluded.schedule

-- name: schedules
select name, due_at, now() from forge_periodic where name = any(%(names)s::text[]) and paused_at is null

-- No row if another process moved it on: each run is inserted once.
-- name: advance
update forge_periodic set due_at = %(next)s
where name = %(name)s and due_at = %(expected)s and paused_at is null
  and exists (select from forge_leader where name = 'jobs' and worker_id = %(worker)s and expires_at > now())
returning 1

-- name: inserted
update forge_periodic set last_at = %(run)s, last_job = %(job)s where name = %(name)s

-- Runs that ended without a result: `which` is `silent` or `strays`. Each counts as an attempt, and the job is
-- available at once: the class's retry() is for errors of its work. Dead workers without runs are deleted.
-- name: rescue
with ended as (
  update forge_job set
    state = case when cancel_requested_at is not null then 'cancelled'
      when attempt >= max_attempts then 'discarded' else 'available' end,
    finalized_at = case when cancel_requested_at is not null or attempt >= max_attempts then now() end,
    claim = null, scheduled_at = now(),
    errors = errors || jsonb_build_array(jsonb_build_object('error', %(why)s::text, 'at', now(), 'attempt', attempt))
  where id = any(array(
$which
  ))
  returning *
),
$notice,
deleted as (
  delete from forge_worker w
  where w.expires_at <= now()
    and not exists (select 1 from forge_job j where j.worker_id = w.id and j.state = 'running')
    and exists (select from forge_leader where name = 'jobs' and worker_id = %(worker)s and expires_at > now())
)
select id, kind, attempt, state from ended

-- name: silent
  -- Of workers without a heartbeat.
  select j.id from forge_job j
  where j.state = 'running' and not exists (
      select 1 from forge_worker w where w.id = j.worker_id and w.expires_at > now())
    and exists (select from forge_leader where name = 'jobs' and worker_id = %(worker)s and expires_at > now()
      and coalesce(rescues_from <= now(), true))
  limit 1000 for update of j skip locked

-- name: strays
  -- Unknown to their worker: a crash of the server undid their results.
  select j.id from forge_job j
  where j.state = 'running' and j.worker_id = %(worker)s
    and (j.id, j.claim) in (select * from unnest(%(ids)s::bigint[], %(claims)s::bigint[]))
  for update of j skip locked

-- Deletes old jobs and figures. Returns whether there may be more of them.
-- name: sweep
with leads as (
  select from forge_leader where name = 'jobs' and worker_id = %(worker)s and expires_at > now()
),
ended as (
  delete from forge_job
  where exists (select from leads) and id = any(array(
    select id from forge_job
    where state in ('completed', 'cancelled') and coalesce(finalized_at, scheduled_at)
      < now() - %(completed)s * interval '1 second'
    order by coalesce(finalized_at, scheduled_at) limit %(batch)s for update skip locked))
  returning 1
),
discarded as (
  delete from forge_job
  where exists (select from leads) and id = any(array(
    select id from forge_job
    where state = 'discarded' and coalesce(finalized_at, scheduled_at) < now() - %(discarded)s * interval '1 second'
    order by coalesce(finalized_at, scheduled_at) limit %(batch)s for update skip locked))
  returning 1
),
figures as (
  delete from forge_job_minute
  where exists (select from leads) and minute < now() - %(minutes)s * interval '1 second'
)
select (select count(*) from ended) >= %(batch)s or (select count(*) from discarded) >= %(batch)s

-- name: counts_are_old
-- Whether a leader that could count is missing, and the last count is older than 10 seconds.
select not exists (select from forge_leader where name = 'jobs' and expires_at > now())
  and coalesce((select max(counted_at) from forge_queue) < now() - interval '10 seconds', true)

-- Jobs by queue and state, each count at most `most`, and the age of the oldest available job. Available jobs are
-- counted queue by queue, so that a long queue hides no other.
-- name: count
with recursive waiting(queue) as (
  (select queue from forge_job where state = 'available' order by queue limit 1)
  union all
  select (select j.queue from forge_job j where j.state = 'available' and j.queue > w.queue order by j.queue limit 1)
  from waiting w where w.queue is not null
)
select w.queue, 'available' as state,
  (select count(*) from (
    select 1 from forge_job j where j.state = 'available' and j.queue = w.queue limit %(most)s) counted),
  (select extract(epoch from now() - min(at))::float8 from (values (1), (2), (3), (4)) p(priority), lateral (
    select j.scheduled_at as at from forge_job j
    where j.state = 'available' and j.queue = w.queue and j.priority = p.priority
    order by j.scheduled_at limit 1) first)
from waiting w where w.queue is not null
union all
select queue, s.state, count(*), null
from (values ('scheduled'), ('running'), ('retryable'), ('completed'), ('discarded'), ('cancelled')) s(state),
  lateral (select j.queue from forge_job j where j.state = s.state limit %(most)s) counted
group by queue, s.state

-- name: estimate
explain (format json) select from forge_job where queue = %(queue)s and state = %(state)s

-- Deletes queues without jobs, unless they are paused or limited.
-- name: store_counts
with leads as (
  select from (select true) always
  where exists (select from forge_leader where name = 'jobs' and worker_id = %(worker)s and expires_at > now())
    or (%(worker)s::uuid is null
      and not exists (select from forge_leader where name = 'jobs' and expires_at > now()))
),
new as (
  insert into forge_queue as q (name, counts, counted_at)
  select name, counts, now() from unnest(%(names)s::text[], %(counts)s::jsonb[]) f(name, counts), leads
  on conflict (name) do update set counts = excluded.counts, counted_at = excluded.counted_at
),
empty as (
  update forge_queue set counts = '{}', counted_at = now()
  where name <> all(%(names)s::text[]) and exists (select from leads) and (paused_at is not null or limited)
)
delete from forge_queue
where name <> all(%(names)s::text[]) and exists (select from leads) and paused_at is null and not limited
