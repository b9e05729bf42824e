-- A CHECK that calls a function costs a statement 25 us: PL/pgSQL prepares its expressions anew in every
-- transaction. So a new job is checked where it is made (jobs/insert.py), and the table guards its changes. One
-- that came in wrong all the same (by hand, or from the previous release) may end as it can.

alter table forge_job drop constraint forge_job_rules;

create function forge_job_guard() returns trigger
language plpgsql
as $$
begin
  if not forge_job_is_sound(new) and forge_job_is_sound(old) then
    raise exception 'a job cannot be so' using
      errcode = 'check_violation', table = 'forge_job', constraint = 'forge_job_rules';
  end if;
  return null;
end
$$;
create trigger forge_job_rules after update on forge_job
for each row execute function forge_job_guard();

-- forge: down
drop trigger forge_job_rules on forge_job;
drop function forge_job_guard;
alter table forge_job add constraint forge_job_rules check (forge_job_is_sound(forge_job)) not valid;
alter table forge_job validate constraint forge_job_rules;
