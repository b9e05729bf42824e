How many jobs there are, kept in forge_queue.

-- name: old
-- Whether no leader counts, and nobody else has of late.
select not exists (select from forge_leader where name = 'jobs' and expires_at > now())
  and coalesce((select max(counted_at) from forge_queue) < now() - interval '10 seconds', true)

-- Jobs by queue and state, none counted further than `most`, and the age of the oldest that waits. What waits is
-- counted queue by queue, so that a long one hides no other.
-- name: count
with recursive waiting(queue) as (
  (select queue from forge_job where state = 'available' order by queue limit 1)
  union all
  select (select j.queue from forge_job j where j.state = 'available' and j.queue > w.queue order by j.queue limit 1)
  from waiting w where w.queue is not null
)
select w.queue, 'available' as state,
  (select count(*) from (
    select 1 from forge_job j where j.state = 'available' and j.queue = w.queue limit %(most)s) found),
  (select extract(epoch from now() - min(at))::float8 from (values (1), (2), (3), (4)) p(priority), lateral (
    select j.scheduled_at as at from forge_job j
    where j.state = 'available' and j.queue = w.queue and j.priority = p.priority
    order by j.scheduled_at limit 1) first)
from waiting w where w.queue is not null
union all
select queue, s.state, count(*), null
from (values ('scheduled'), ('running'), ('retryable'), ('completed'), ('discarded'), ('cancelled')) s(state),
  lateral (select j.queue from forge_job j where j.state = s.state limit %(most)s) found
group by queue, s.state

-- name: estimate
explain (format json) select from forge_job where queue = %(queue)s and state = %(state)s

-- Queues without any job are forgotten, unless somebody has said something of them.
-- name: counted
with leads as (
  select from (select true) one
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
