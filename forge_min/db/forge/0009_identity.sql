-- People, the tenants they belong to, and their API keys, of which a digest is kept.

-- email: in lower case. roles: held in every tenant.
create table forge_user (
  id uuid primary key default forge_uuid7(),
  email text not null check (email = lower(email) and email like '%_@_%' and length(email) <= 254),
  name text not null default '',
  roles text[] not null default '{}',
  time_zone text not null default 'UTC',
  language text not null default '',
  created_at timestamptz not null default now(),
  disabled_at timestamptz
);
create unique index forge_user_email_key on forge_user (email);

create table forge_tenant (
  id uuid primary key default forge_uuid7(),
  slug text not null check (slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$' and length(slug) <= 63),
  name text not null default '',
  created_at timestamptz not null default now()
);
create unique index forge_tenant_slug_key on forge_tenant (slug);

-- roles: held in this tenant, beside the user's own.
create table forge_membership (
  user_id uuid not null references forge_user on delete cascade,
  tenant_id uuid not null references forge_tenant on delete cascade,
  roles text[] not null default '{}',
  created_at timestamptz not null default now(),
  primary key (user_id, tenant_id)
);
create index forge_membership_tenant on forge_membership (tenant_id);

-- API keys. key: SHA-256 of the secret, whose first characters are the hint. roles: of the user's, those that
-- the key has; null = all. tenant_id: the only one it acts in.
create table forge_token (
  id uuid primary key default forge_uuid7(),
  key bytea not null,
  hint text not null,
  user_id uuid not null references forge_user on delete cascade,
  tenant_id uuid references forge_tenant on delete cascade,
  name text not null default '',
  roles text[],
  created_at timestamptz not null default now(),
  seen_at timestamptz,
  expires_at timestamptz,
  revoked_at timestamptz
);
create unique index forge_token_key_key on forge_token (key);
create index forge_token_user on forge_token (user_id);

-- forge: down
drop table forge_token;
drop table forge_membership;
drop table forge_tenant;
drop table forge_user;
