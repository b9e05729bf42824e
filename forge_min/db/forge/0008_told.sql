-- Of which kinds a worker wants to be told that a job was given up, whoever gives it up.

alter table forge_worker add column told text[] not null default '{}';

-- forge: down
alter table forge_worker drop column told;
