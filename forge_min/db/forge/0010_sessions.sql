-- What people sign in with, and where they are signed in. Of every secret a digest is kept.

-- password: a PHC string of scrypt; null = nobody signs in by one. reset_key: SHA-256 of the one link that
-- sets a new one, good until reset_until.
alter table forge_user
  add column password text,
  add column password_at timestamptz,
  add column reset_key bytea,
  add column reset_until timestamptz;
create unique index forge_user_reset on forge_user (reset_key) where reset_key is not null;

-- key: SHA-256 of what the cookie holds.
create table forge_session (
  key bytea primary key,
  id uuid not null default forge_uuid7(),
  user_id uuid not null references forge_user on delete cascade,
  address text not null default '',
  agent text not null default '',
  created_at timestamptz not null default now(),
  seen_at timestamptz not null default now(),
  expires_at timestamptz not null
);
create unique index forge_session_id on forge_session (id);
create index forge_session_user on forge_session (user_id);
create index forge_session_expires on forge_session (expires_at);

-- Tries of passwords, by account and by address: a bucket each. until: when it is empty again; tries are
-- refused while that lies further ahead than burst.
create table forge_throttle (
  key text primary key,
  until timestamptz not null,
  burst interval not null
);
create index forge_throttle_until on forge_throttle (until);

-- forge: down
drop table forge_throttle;
drop table forge_session;
alter table forge_user
  drop column reset_until,
  drop column reset_key,
  drop column password_at,
  drop column password;
