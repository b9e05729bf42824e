-- Users without a time zone of their own have that of the project.

alter table forge_user alter column time_zone set default '';
update forge_user set time_zone = '' where time_zone = 'UTC';

-- forge: down
update forge_user set time_zone = 'UTC' where time_zone = '';
alter table forge_user alter column time_zone set default 'UTC';
