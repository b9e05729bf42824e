Every statement on forge_job and forge_worker.
Times are the database's. A statement that ends a run is fenced by the run's claim.

-- The new job, or the one of the same unique_key that has not ended. No row: that one came or went meanwhile.
-- name: insert
with made as (
  insert into forge_job (kind, queue, args, priority, max_attempts, metadata, state, scheduled_at, unique_key)
  values (%(kind)s, %(queue)s, %(args)s::jsonb, %(priority)s, %(max_attempts)s, %(metadata)s::jsonb,
    case when %(delay)s::float8 > 0 then 'scheduled' else 'available' end,
    now() + %(delay)s::float8 * interval '1 second', %(unique_key)s::text)
  on conflict (unique_key)
    where unique_key is not null and state in ('available', 'scheduled', 'running', 'retryable') do nothing
  returning id
)
select id from made
union all
select id from forge_job
where unique_key = %(unique_key)s::text and state in ('available', 'scheduled', 'running', 'retryable')
limit 1;

-- A part of a write's statement: one job per row of $source. What stands for a $word comes from insert.py, which
-- checks every name and quotes every constant. unless_taken: the words of the index forge_job_unique.
-- PERF: a constant costs nothing here, a placeholder half a microsecond at either end (benchmarks/writes.py).
-- name: fragment
insert into forge_job
  (kind, queue, priority, max_attempts, metadata, args, state, scheduled_at, unique_key)
select $kind, $queue, $priority, $max_attempts, %($metadata)s::jsonb,
  jsonb_build_object('resource', $resource, 'id', $id, 'operation', $operation, 'version', $source.version$before),
  $state, now()$delay, $unique_key
from $source $unless_taken

-- name: unless_taken
on conflict (unique_key)
  where unique_key is not null and state in ('available', 'scheduled', 'running', 'retryable') do nothing

-- name: copy
copy forge_job (kind, queue, args, priority, max_attempts, metadata, state, scheduled_at) from stdin;

-- What is due becomes available; and whether a fetch would find anything.
-- name: look
with due as (
  update forge_job set state = 'available'
  where id = any(array(
    select id from forge_job
    where state in ('scheduled', 'retryable') and coalesce(finalized_at, scheduled_at) <= now()  -- as its index
    order by scheduled_at limit 1000 for update skip locked))
  returning queue
)
select q.name from unnest(%(queues)s::text[]) q(name)
where exists (select 1 from due where due.queue = q.name)
   or exists (select 1 from forge_job j
     where j.state = 'available' and j.queue = q.name and j.kind = any(%(kinds)s::text[]));

-- name: claim
select nextval('forge_job_claim');

-- The claim is known before the statement runs, so a fetch whose answer was lost can be taken back; the last
-- column is the claim of the next fetch. A worker whose heartbeat has run out gets nothing: what it took would
-- be rescued from it at once.
-- name: fetch
with picked as (
  select id from forge_job
  where state = 'available' and queue = %(queue)s and kind = any(%(kinds)s::text[])
    and exists (select 1 from forge_worker where id = %(worker)s and expires_at > now())
  order by priority, scheduled_at, id
  limit %(limit)s
  for update skip locked
)
update forge_job set
  state = 'running', attempt = attempt + 1, attempted_at = now(), worker_id = %(worker)s,
  claim = %(claim)s
where id = any(array(select id from picked))
returning id, kind, queue, args, attempt, max_attempts, claim, metadata,
  greatest(least(created_at, '9999-01-01Z'), '0001-02-01Z'),  -- what Python can read
  greatest(least(scheduled_at, '9999-01-01Z'), '0001-02-01Z'), priority,
  (select nextval('forge_job_claim'));

-- name: release
update forge_job set state = 'available', attempt = attempt - 1, claim = null
where worker_id = %(worker)s and state = 'running' and claim = any(%(claims)s::bigint[]);

-- name: complete
update forge_job j set state = 'completed', finalized_at = now(), claim = null
from unnest(%(ids)s::bigint[], %(claims)s::bigint[]) done(id, claim)
where j.id = done.id and j.claim = done.claim and j.state = 'running' and j.worker_id = %(worker)s
returning j.id;

-- Every outcome but success. refund: attempts given back. delay: seconds from now, NULL = as it was.
-- name: settle
update forge_job j set
  state = s.state, claim = null, attempt = j.attempt - s.refund,
  finalized_at = case when s.state in ('discarded', 'cancelled') then now() end,
  scheduled_at = coalesce(now() + s.delay * interval '1 second', j.scheduled_at),
  errors = case when s.error is null then j.errors
    else j.errors || jsonb_build_array(s.error || jsonb_build_object('at', now(), 'attempt', j.attempt)) end
from unnest(%(ids)s::bigint[], %(claims)s::bigint[], %(states)s::text[], %(refunds)s::smallint[],
  %(delays)s::float8[], %(errors)s::jsonb[]) s(id, claim, state, refund, delay, error)
where j.id = s.id and j.claim = s.claim and j.state = 'running' and j.worker_id = %(worker)s
returning j.id;

-- name: complete_tx
update forge_job set state = 'completed', finalized_at = now(), claim = null
where id = %(id)s and claim = %(claim)s and state = 'running'
returning id;

-- name: beat
insert into forge_worker (id, host, pid, queues, expires_at)
values (%(worker)s, %(host)s, %(pid)s, %(queues)s::jsonb, now() + %(rescue_after)s * interval '1 second')
on conflict (id) do update set expires_at = excluded.expires_at;

-- Jobs whose worker is gone or silent. The run that died costs its attempt.
-- name: rescue
update forge_job set
  state = case when attempt >= max_attempts then 'discarded' else 'retryable' end,
  finalized_at = case when attempt >= max_attempts then now() end,
  claim = null,
  scheduled_at = now() + power(attempt, 4) * (0.9 + 0.2 * random()) * interval '1 second',
  errors = errors || jsonb_build_array(jsonb_build_object(
    'error', 'the worker died or fell silent', 'at', now(), 'attempt', attempt))
where id = any(array(
  select j.id from forge_job j
  where j.state = 'running' and not exists (
    select 1 from forge_worker w where w.id = j.worker_id and w.expires_at > now())
  limit 1000 for update of j skip locked))
returning id;

-- Nothing of theirs runs any more.
-- name: forget
delete from forge_worker w
where w.expires_at <= now()
  and not exists (select 1 from forge_job j where j.worker_id = w.id and j.state = 'running');

-- name: leave
delete from forge_worker where id = %(worker)s;
