-- forge: no transaction
-- forge_job_unique goes on holding for jobs that have not ended; this one for those that say more.

drop index concurrently if exists forge_job_unique_in;
create unique index concurrently forge_job_unique_in on forge_job (unique_key)
  where unique_key is not null and state = any(unique_states);

-- forge: down
drop index concurrently if exists forge_job_unique_in;
