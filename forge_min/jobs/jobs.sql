The statements of workers and of inserts on forge_job and forge_worker.
Times are from the clock of the database. A statement that ends a run is fenced by the claim of the run.

-- Returns the id of the new job and true. $is_new is true, or the statement `notify`. PERF: most jobs have the options
-- of their kind, which are constants here: each placeholder costs 2 us (benchmarks/jobs).
-- name: insert_usual
insert into forge_job (kind, queue, priority, max_attempts, args, metadata)
values ($kind, $queue, $priority, $max_attempts, %(args)s::jsonb, %(metadata)s::jsonb)
returning id, $is_new;

-- name: insert
insert into forge_job
  (kind, queue, args, priority, max_attempts, metadata, state, scheduled_at, tags, limit_key)
values (%(kind)s, %(queue)s, %(args)s::jsonb, %(priority)s, %(max_attempts)s, %(metadata)s::jsonb,
  case when coalesce(%(scheduled_at)s::timestamptz, now() + %(delay)s::float8 * interval '1 second') > now()
    then 'scheduled' else 'available' end,
  coalesce(%(scheduled_at)s::timestamptz, now() + %(delay)s::float8 * interval '1 second'),
  %(tags)s::text[], %(limit_key)s::text)
returning id, $is_new;

-- The NOTIFY of a job's queue inside the transaction, unless the notification queue is half full: a full one makes the
-- commit fail.
-- name: notify
not case when pg_notification_queue_usage() < 0.5 then pg_notify('forge', 'j:' || queue) is null else false end

-- Like `insert`, or the id of the job that counts as the same, and false. That job is locked until the caller's
-- transaction ends, because a run that began before would not see the caller's writes. No row: the other job was
-- inserted or ended during the statement.
-- name: insert_unique
with wanted as (
  select %(unique_key)s::text || coalesce(
      ':' || floor(extract(epoch from now()) / %(window)s::float8)::bigint::text, '') as key,
    coalesce(%(scheduled_at)s::timestamptz, now() + %(delay)s::float8 * interval '1 second') as at
),
made as (
  insert into forge_job (kind, queue, args, priority, max_attempts, metadata, state, scheduled_at, tags, limit_key,
    unique_key, unique_states)
  select %(kind)s, %(queue)s, %(args)s::jsonb, %(priority)s, %(max_attempts)s, %(metadata)s::jsonb,
    case when at > now() then 'scheduled' else 'available' end, at, %(tags)s::text[], %(limit_key)s::text,
    key, %(unique_states)s::text[]
  from wanted
  where not exists (select from forge_job b
    where b.begun_key = key and b.state in ('available', 'scheduled', 'retryable'))
  on conflict do nothing
  returning id
)
select id, true from made
union all
select * from (select j.id, false from forge_job j, wanted w
 where j.unique_key = w.key and j.state in ('available', 'scheduled', 'running', 'retryable') limit 1 for share of j) waiting
union all
select * from (select j.id, false from forge_job j, wanted w
 where j.begun_key = w.key and j.state in ('available', 'scheduled', 'retryable') limit 1 for share of j) begun
union all
(select j.id, false from forge_job j, wanted w
 where j.unique_key = w.key and j.state = any(j.unique_states) and %(unique_states)s::text[] is not null limit 1)
limit 1;

-- name: ids
select nextval('forge_job_id_seq') from generate_series(1, %(count)s::bigint);

-- A part of a write's statement: one job per row of $source. The values of $words come from insert.py, which checks
-- every name and quotes every constant.
-- PERF: a constant costs nothing here, a placeholder half a microsecond at either end (benchmarks/writes.py).
-- name: fragment
insert into forge_job
  (kind, queue, priority, max_attempts, metadata, args, state, scheduled_at, unique_key, limit_key)
select $kind, $queue, $priority, $max_attempts, %($metadata)s::jsonb,
  jsonb_build_object('resource', $resource, 'id', $id, 'operation', $operation, 'version', $source.version$before),
  $state, now()$delay, $unique_key, $unique_key
from $source
$unless_waiting

-- name: unless_waiting
-- For a unique job. Both parts lock the job that counts as the same, as in insert_unique. The second part repeats the
-- condition of the index forge_job_unique, and changes nothing.
where not exists (select from forge_job b
    where b.begun_key = $unique_key and b.state in ('available', 'scheduled', 'retryable') for share)
on conflict (unique_key)
  where unique_key is not null and state in ('available', 'scheduled', 'running', 'retryable')
  do update set kind = excluded.kind where false

-- name: copy
-- Columns that no job sets keep their defaults. PERF: the server takes 3.4 us for a job instead of 4.1
-- (benchmarks/jobs).
copy forge_job (kind, queue, args, priority, max_attempts, metadata$more) from stdin;

-- The queues with available jobs, without paused ones: name, whether it has limits, whether jobs became due. If this
-- worker is the leader, due jobs become available.
-- name: poll
with due as (
  update forge_job set state = 'available'
  where id = any(array(
    select id from forge_job
    where state in ('scheduled', 'retryable') and coalesce(finalized_at, scheduled_at) <= now()  -- as its index
      and exists (select from forge_leader where name = 'jobs' and worker_id = %(worker)s and expires_at > now())
    order by coalesce(finalized_at, scheduled_at) limit 5000 for update skip locked))
  returning queue, kind
),
woken as (select distinct queue from due)
select q.name, coalesce(f.limited, false), woken.queue is not null
from unnest(%(queues)s::text[]) q(name)
left join forge_queue f on f.name = q.name
left join woken on woken.queue = q.name
where f.paused_at is null
  and (exists (select 1 from due where due.queue = q.name and due.kind = any(%(kinds)s::text[]))
    or exists (select 1 from forge_job j
      where j.state = 'available' and j.queue = q.name and j.kind = any(%(kinds)s::text[])))
union all
select queue, false, true from woken where queue <> all(%(queues)s::text[]);

-- name: claim
select nextval('forge_job_claim');

-- The claim is known before the statement runs, so a fetch without a response can be released. The last two columns:
-- the claim of the next fetch, and the number of errors of the job. `picked` is pick, pick_on or pick_limited.
-- PERF: its commit does not wait for the disk. A crash of the server may undo it: then the results of these runs are
-- refused. A result that survived the crash is behind this commit in the WAL (PostgreSQL manual, section 28.4).
-- name: fetch
with eager as (select set_config('synchronous_commit', 'off', true)),
$picked
update forge_job set
  state = 'running', attempt = attempt + 1, attempted_at = now(), worker_id = %(worker)s, claim = %(claim)s
from eager
where id = any(array(select id from picked))
returning id, kind, queue, args::text, attempt, max_attempts, claim, metadata::text,
  greatest(least(created_at, '9999-01-01Z'), '0001-02-01Z'),  -- the range of Python
  greatest(least(scheduled_at, '9999-01-01Z'), '0001-02-01Z'), priority,
  extract(epoch from now() - greatest(scheduled_at, '0001-02-01Z'))::float8, (select nextval('forge_job_claim')),
  case when jsonb_typeof(errors) = 'array' then jsonb_array_length(errors) else 0 end;

-- A worker without a recent heartbeat gets no jobs, because its runs would be rescued at once.
-- name: pick
picked as (
  select id from forge_job
  where state = 'available' and queue = %(queue)s and kind = any(%(kinds)s::text[])
    and exists (select from forge_worker where id = %(worker)s and expires_at > now())
    and not exists (select from forge_queue where name = %(queue)s and (paused_at is not null or limited))
  order by priority, scheduled_at, id
  limit %(limit)s for update skip locked
)

-- PERF: as `pick`, from the end of the last fetch in each priority. Index entries of jobs fetched since the oldest
-- snapshot stay in the index, and `pick` reads them at each fetch (traps: 11 to 830 buffers). A mark is only a hint:
-- `pick` finds a job that was committed late, below the mark.
-- name: pick_on
picked as (
  select id from (
$scans
  ) scanned
  where exists (select from forge_worker where id = %(worker)s and expires_at > now())
    and not exists (select from forge_queue where name = %(queue)s and (paused_at is not null or limited))
  limit %(limit)s
)

-- A scan of one priority, for pick_on.
-- name: scan
  select * from (
    select id from forge_job
    where state = 'available' and queue = %(queue)s and priority = $n and kind = any(%(kinds)s::text[])
      and (scheduled_at, id) > (%(at_$n)s::timestamptz, %(id_$n)s::bigint)
    order by scheduled_at, id limit %(limit)s for update skip locked) p$n

-- One worker at a time fetches from a limited queue: the next statement of the transaction counts its running jobs.
-- name: lock_queue
select from forge_queue where name = %(queue)s for update;

-- Like `pick`, but within the limits of the queue.
-- name: pick_limited
rules as (
  select *, least(rate_count, tokens + rate_count *
      extract(epoch from clock_timestamp() - refilled_at) / rate_seconds) as filled
  from forge_queue
  where name = %(queue)s and paused_at is null
    and exists (select from forge_worker where id = %(worker)s and expires_at > now())
),
running as (
  select limit_key, count(*) as number from forge_job
  where state = 'running' and queue = %(queue)s group by limit_key
),
allowed as (
  select least(%(limit)s,
    coalesce(max_running - (select coalesce(sum(number), 0) from running), %(limit)s),
    case when rate_count is null then %(limit)s else floor(coalesce(filled, rate_count)) end) as number,
    max_per_key
  from rules
),
candidates as (
  select id, limit_key, priority, scheduled_at from forge_job
  where state = 'available' and queue = %(queue)s and kind = any(%(kinds)s::text[])
    and (select number from allowed) > 0
    and (limit_key is null or limit_key <> all(array(
      select r.limit_key from running r, allowed a
      where r.limit_key is not null and r.number >= a.max_per_key)))
  order by priority, scheduled_at, id
  limit 1000
),
ranked as (
  select c.*, coalesce(r.number, 0)
    + row_number() over (partition by c.limit_key order by c.priority, c.scheduled_at, c.id) as place
  from candidates c left join running r on r.limit_key = c.limit_key
),
chosen as (
  select id from ranked, allowed
  where limit_key is null or max_per_key is null or place <= max_per_key
  order by priority, scheduled_at, id
  limit (select greatest(number, 0) from allowed)
),
-- No index may be used for the state here: it is compared again after the row is locked.
picked as (
  select id from forge_job
  where id = any(array(select id from chosen)) and state || '' = 'available'
  for update skip locked
),
spent as (
  update forge_queue f set tokens = coalesce(rules.filled, rules.rate_count) - (select count(*) from picked),
    refilled_at = clock_timestamp()
  from rules where f.name = rules.name and rules.rate_count is not null
)

-- name: release
update forge_job set attempt = attempt - 1, claim = null,
  state = case when cancel_requested_at is null then 'available' else 'cancelled' end,
  finalized_at = case when cancel_requested_at is not null then now() end
where worker_id = %(worker)s and state = 'running' and claim = any(%(claims)s::bigint[]);

-- Only running jobs have a claim. PERF: a condition on the state would read the index of states, which has an entry
-- for each job that ran since the oldest snapshot. The plan of a join depends on an estimate of the number of ids, and
-- was once a nested loop (benchmarks/jobs). `is true` keeps the pairs in a hash table of their own.
-- name: complete
update forge_job j set state = 'completed', finalized_at = now(), claim = null
where id = any(%(ids)s::bigint[]) and worker_id = %(worker)s
  and ((id, claim) in (select * from unnest(%(ids)s::bigint[], %(claims)s::bigint[]))) is true
returning id;

-- Every outcome but success. Each id is there once. refunds: attempts to give back. delays: seconds from now, NULL =
-- the time stays. A job that an operator asked to cancel does not run again.
-- name: finish
with mine as materialized (
  select id, cancel_requested_at, array_position(%(ids)s::bigint[], id) as n from forge_job
  where id = any(%(ids)s::bigint[]) and worker_id = %(worker)s
    and claim = (%(claims)s::bigint[])[array_position(%(ids)s::bigint[], id)]
  for update
),
results as materialized (
  select id, case when cancel_requested_at is not null
      and (%(states)s::text[])[n] in ('available', 'scheduled', 'retryable') then 'cancelled'
      else (%(states)s::text[])[n] end as state,
    (%(refunds)s::smallint[])[n] as refund,
    (%(delays)s::float8[])[n] as delay, (%(errors)s::jsonb[])[n] as error
  from mine
),
ended as (
  update forge_job j set
    state = s.state, claim = null, attempt = j.attempt - s.refund,
    finalized_at = case when s.state in ('discarded', 'cancelled') then now() end,
    scheduled_at = coalesce(now() + s.delay * interval '1 second', j.scheduled_at),
    errors = case when s.error is null then j.errors
      else j.errors || jsonb_build_array(s.error || jsonb_build_object(
        'at', now(), 'attempt', j.attempt, 'refunded', s.refund > 0)) end
  from results s
  where j.id = s.id
  returning j.*
),
$notice
select id from ended;

-- A part of each statement that ends jobs, which are in the CTE `ended`. If a worker has a `discarded` for the kind,
-- a discarded job enqueues a job of the same kind that reports it.
-- name: notice
notice as (
  insert into forge_job (kind, queue, priority, args, metadata, tags)
  select kind, queue, priority, args,
    metadata || jsonb_build_object('discarded', id, 'error', errors -> -1 ->> 'error'), tags
  from ended
  where state = 'discarded' and not metadata ? 'discarded'
    and (kind = any(%(discarded_kinds)s::text[]) or exists (select from forge_worker w where ended.kind = any(w.told)))
)

-- name: complete_tx
update forge_job set state = 'completed', finalized_at = now(), claim = null, metadata = metadata || %(output)s::jsonb
where id = %(id)s and claim = %(claim)s and state = 'running'
returning id;

-- name: save_tx
update forge_job set metadata = metadata || %(output)s::jsonb
where id = %(id)s and claim = %(claim)s and state = 'running'
returning id;

-- name: heartbeat
insert into forge_worker (id, host, pid, queues, kinds, told, expires_at)
values (%(worker)s, %(host)s, %(pid)s, %(queues)s::jsonb, %(kinds)s::text[], %(discarded_kinds)s::text[],
  now() + %(rescue_after)s * interval '1 second')
on conflict (id) do update set expires_at = excluded.expires_at;

-- Requests or renews the leader's lease. Returns whether this worker is the leader, with each run recorded as its own
-- and whether an operator asked to cancel it, or with nulls. If no worker has renewed the lease for so long that live
-- workers may have expired, the database was unavailable: then no run is rescued before they had the time to send a
-- heartbeat.
-- name: lead
with lead as (
  insert into forge_leader as l (name, worker_id, expires_at)
  values ('jobs', %(worker)s, now() + %(lease)s * interval '1 second')
  on conflict (name) do update set worker_id = excluded.worker_id, expires_at = excluded.expires_at,
    term = l.term + (l.worker_id <> excluded.worker_id)::integer,
    elected_at = case when l.worker_id = excluded.worker_id then l.elected_at else now() end,
    rescues_from = case when l.expires_at <= now() - %(gap)s * interval '1 second'
      then now() + %(rescue_after)s * interval '1 second' else l.rescues_from end
  where l.worker_id = excluded.worker_id or l.expires_at <= now()
  returning 1
)
select exists (select from lead), id, claim, cancel_requested_at is not null
from (values (1)) one left join forge_job on state = 'running' and worker_id = %(worker)s;

-- The row stays, because it has rescues_from.
-- name: step_down
update forge_leader set expires_at = now() where name = 'jobs' and worker_id = %(worker)s;

-- name: leave
with led as (update forge_leader set expires_at = now() where name = 'jobs' and worker_id = %(worker)s)
delete from forge_worker where id = %(worker)s;

-- name: count_minute
insert into forge_job_minute as m (queue, minute, completed, failed, seconds)
select name, date_trunc('minute', now()), completed, failed, seconds
from unnest(%(names)s::text[], %(completed)s::bigint[], %(failed)s::bigint[], %(seconds)s::float8[])
  done(name, completed, failed, seconds)
order by name
on conflict (minute, queue) do update set completed = m.completed + excluded.completed,
  failed = m.failed + excluded.failed, seconds = m.seconds + excluded.seconds;
