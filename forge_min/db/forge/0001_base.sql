-- forge_min's own tables: the event log, the jobs, and the key that generated tables default to.

-- A UUID of version 7 (RFC 9562, section 5.7): 48 bits of milliseconds, 12 bits of the fraction below the
-- millisecond (section 6.2, method 3), 62 random bits. Every generated table's id defaults to it.
create function forge_uuid7() returns uuid
language plpgsql volatile parallel safe
as $$
declare
  us constant bigint := (extract(epoch from clock_timestamp()) * 1000000)::bigint;
begin
  return (lpad(to_hex(us / 1000), 12, '0')
          || to_hex(28672 + (us % 1000) * 4096 / 1000)
          || substr(gen_random_uuid()::text, 20))::uuid;
end
$$;

-- The event log. A reader keeps a snapshot and asks for the rows whose xid that snapshot could not see.
create table forge_event (
  id bigint generated always as identity,
  xid xid8 not null default pg_current_xact_id(),
  tenant_id uuid,
  topic text not null,
  kind text not null,
  resource_id text,
  version bigint,
  changed text[],
  payload jsonb,
  created_at timestamptz not null default clock_timestamp()
) with (
  autovacuum_vacuum_scale_factor = 0,
  autovacuum_vacuum_threshold = 10000,
  autovacuum_vacuum_insert_scale_factor = 0,
  autovacuum_vacuum_insert_threshold = 100000,
  autovacuum_vacuum_cost_delay = 0
);
create index forge_event_xid on forge_event (xid);

-- One row while the server has not crashed: unlogged, so a crash or a promotion empties it, and then nobody
-- may trust an xid that was read before. marks: the xmin of every eighth of a retention period, oldest first.
-- deleted_before: rows of the log whose xid lies below may be gone.
create unlogged table forge_boot (
  token text not null,
  marks xid8[] not null default '{}',
  marked_at timestamptz not null default now(),
  deleted_before xid8
);

-- A worker process. expires_at moves on with its heartbeat; jobs of an expired worker are rescued.
create table forge_worker (
  id uuid primary key,
  host text not null,
  pid integer not null,
  queues jsonb not null,
  started_at timestamptz not null default now(),
  expires_at timestamptz not null
) with (
  autovacuum_vacuum_scale_factor = 0,
  autovacuum_vacuum_threshold = 1000
);

-- A fresh claim for every fetch, never used again: whoever answers with an old one is refused.
create sequence forge_job_claim as bigint;

create table forge_job (
  id bigint generated always as identity primary key,
  kind text not null check (length(kind) between 1 and 200),
  queue text not null default 'default' check (length(queue) between 1 and 100),
  args jsonb not null default '{}' check (jsonb_typeof(args) = 'object'),
  state text not null default 'available' check (state in
    ('available', 'scheduled', 'running', 'retryable', 'completed', 'discarded', 'cancelled')),
  priority smallint not null default 2 check (priority between 1 and 4),
  attempt smallint not null default 0 check (attempt >= 0),
  max_attempts smallint not null default 25 check (max_attempts >= 1),
  scheduled_at timestamptz not null default now(),
  created_at timestamptz not null default now(),
  attempted_at timestamptz,
  finalized_at timestamptz,
  worker_id uuid,
  claim bigint,
  cancel_requested_at timestamptz,
  unique_key text,
  errors jsonb not null default '[]' check (jsonb_typeof(errors) = 'array'),
  metadata jsonb not null default '{}' check (jsonb_typeof(metadata) = 'object'),
  tags text[] not null default '{}',
  constraint forge_job_claimed check ((state = 'running') = (claim is not null)),
  constraint forge_job_running check
    (state <> 'running' or (worker_id is not null and attempted_at is not null and attempt >= 1)),
  constraint forge_job_final check
    ((state in ('completed', 'discarded', 'cancelled')) = (finalized_at is not null)),
  constraint forge_job_attempts check (attempt <= max_attempts)
) with (
  autovacuum_vacuum_scale_factor = 0,
  autovacuum_vacuum_threshold = 1000,
  autovacuum_vacuum_cost_delay = 0
);
create index forge_job_fetch on forge_job (queue, priority, scheduled_at, id) where state = 'available';
create index forge_job_due on forge_job (scheduled_at) where state in ('scheduled', 'retryable');
create index forge_job_worker on forge_job (worker_id) where state = 'running';
create index forge_job_finalized on forge_job (finalized_at) where finalized_at is not null;
create unique index forge_job_unique on forge_job (unique_key)
  where unique_key is not null and state in ('available', 'scheduled', 'running', 'retryable');

-- forge: down
drop table forge_job;
drop sequence forge_job_claim;
drop table forge_worker;
drop table forge_boot;
drop table forge_event;
drop function forge_uuid7();
