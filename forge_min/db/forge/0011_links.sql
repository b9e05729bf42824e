-- Links for a new password. A user may have several: asking for one makes no other useless.

-- key: SHA-256 of what the link holds. asked: for by somebody on the web, rather than made by an operator.
create table forge_reset (
  key bytea primary key,
  user_id uuid not null references forge_user on delete cascade,
  asked boolean not null default false,
  expires_at timestamptz not null
);
create index forge_reset_user on forge_reset (user_id);
-- reset_key and reset_until of forge_user stay, for the release before.
insert into forge_reset (key, user_id, expires_at)
select reset_key, id, reset_until from forge_user where reset_until > now();

-- forge: down
drop table forge_reset;
