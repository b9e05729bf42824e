-- The reasons of transitions, in the history.

alter table forge_audit add column reason text not null default '';

-- forge: down
alter table forge_audit drop column reason;
