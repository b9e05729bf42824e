-- forge: no transaction
-- A unique job counts among the jobs that have not begun. A worker that takes it moves its key from unique_key to
-- begun_key, so the next insert of the key adds a successor. The row of an ended job has its key in unique_key, as before.
-- A trigger does it, so the previous release obeys as well: its ON CONFLICT clauses still match forge_job_unique.

alter table forge_job add column begun_key text;

-- For a job that waits to run again; its condition is short because each INSERT plans it (0005).
drop index concurrently if exists forge_job_begun;
create index concurrently forge_job_begun on forge_job (begun_key) where begun_key is not null;

-- A job that is to run again while another job of its key waits is cancelled: that one does its work. It is not given
-- its unique_key back, because that would wait for a transaction that is inserting a successor.
create or replace function forge_job_move_key() returns trigger
language plpgsql
as $$
declare
  waiting constant text[] := array['available', 'scheduled', 'retryable'];
  successor bigint;
begin
  if new.state = 'running' then
    new.begun_key := coalesce(new.unique_key, new.begun_key);
    new.unique_key := null;
    return new;
  end if;
  if old.state = 'running' and new.begun_key is not null and new.state = any(waiting) then
    select id into successor from (
      select id from forge_job
      where unique_key = new.begun_key and state in ('available', 'scheduled', 'retryable')
      union all
      select id from forge_job
      where begun_key = new.begun_key and id <> new.id and state in ('available', 'scheduled', 'retryable')) same
    limit 1;
    if found then
      new.state := 'cancelled';
      new.finalized_at := now();
      new.errors := new.errors || jsonb_build_array(jsonb_build_object(
        'error', format('job %s of the same unique key waits and does its work', successor),
        'at', now(), 'attempt', new.attempt));
    end if;
  end if;
  if new.state <> all(waiting) then
    new.unique_key := coalesce(new.begun_key, new.unique_key);
    new.begun_key := null;
  end if;
  return new;
end
$$;

create or replace trigger forge_job_move_key before update on forge_job
for each row when (old.state <> new.state and new.unique_states is null
  and coalesce(new.unique_key, new.begun_key) is not null)
execute function forge_job_move_key();

-- Jobs that run now have begun.
update forge_job set begun_key = unique_key, unique_key = null
where state = 'running' and unique_key is not null and unique_states is null;

-- No run is rescued before this time: the lease had lapsed, so live workers may have expired too.
alter table forge_leader add column rescues_from timestamptz;

-- forge: down
alter table forge_leader drop column if exists rescues_from;
drop trigger if exists forge_job_move_key on forge_job;
drop function if exists forge_job_move_key;
drop index concurrently if exists forge_job_begun;
alter table forge_job drop column if exists begun_key;
