-- What trustworthy jobs need beside the job itself: uniqueness among ended jobs, limits by key, queues that are
-- paused or limited, one leader, schedules, and what a worker can work.

-- unique_states: the states in which a job of unique_key still counts; null = those of forge_job_unique.
alter table forge_job add column unique_states text[], add column limit_key text;
alter table forge_worker add column kinds text[] not null default '{}';

-- A row where somebody has paused or limited a queue, or the leader has counted it. tokens, refilled_at: of the
-- bucket that holds rate_count jobs and fills in rate_seconds.
create table forge_queue (
  name text primary key,
  paused_at timestamptz,
  max_running integer check (max_running >= 0),
  max_per_key integer check (max_per_key >= 1),
  rate_count integer check (rate_count >= 1),
  rate_seconds double precision check (rate_seconds > 0),
  tokens double precision,
  refilled_at timestamptz,
  limited boolean not null generated always as
    (coalesce(max_running, max_per_key, rate_count) is not null) stored,
  counts jsonb not null default '{}',
  counted_at timestamptz,
  check ((rate_count is null) = (rate_seconds is null))
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- Who does what one process does for all. term: raised with every change of hands.
create table forge_leader (
  name text primary key,
  worker_id uuid not null,
  term bigint not null default 1,
  elected_at timestamptz not null default now(),
  expires_at timestamptz not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- Schedules. due_at: the next run that was not inserted yet; worked out by the leader, from `schedule`.
create table forge_periodic (
  name text primary key,
  schedule text not null,
  due_at timestamptz not null,
  last_at timestamptz,
  last_job bigint,
  paused_at timestamptz
);

-- What ended, a row per queue and minute, added to by every worker. seconds: that the runs took.
create table forge_job_minute (
  queue text not null,
  minute timestamptz not null,
  completed bigint not null default 0,
  failed bigint not null default 0,
  seconds double precision not null default 0,
  primary key (minute, queue)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- forge: down
drop table forge_job_minute;
drop table forge_periodic;
drop table forge_leader;
drop table forge_queue;
alter table forge_worker drop column kinds;
alter table forge_job drop column limit_key, drop column unique_states;
