-- forge: no transaction
-- Three indexes of forge_job, for what is due, runs and has ended, as one: PostgreSQL plans the condition of
-- every partial index anew for each statement, so an insert paid 15 us for three that have no row of it.

drop index concurrently if exists forge_job_state;
create index concurrently forge_job_state on forge_job (state, coalesce(finalized_at, scheduled_at))
  where state <> 'available';
drop index concurrently if exists forge_job_due;
drop index concurrently if exists forge_job_worker;
drop index concurrently if exists forge_job_finalized;

-- forge: down
drop index concurrently if exists forge_job_finalized;
create index concurrently forge_job_finalized on forge_job (finalized_at) where finalized_at is not null;
drop index concurrently if exists forge_job_worker;
create index concurrently forge_job_worker on forge_job (worker_id) where state = 'running';
drop index concurrently if exists forge_job_due;
create index concurrently forge_job_due on forge_job (scheduled_at) where state in ('scheduled', 'retryable');
drop index concurrently if exists forge_job_state;
