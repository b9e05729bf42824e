-- Who changed which row, and the answers to creates that carry an Idempotency-Key.

-- One row per change of an auditable resource, written by the change's own statement.
-- changes: {"field": [before, after], ...}, only fields that differ; null stands for "not there".
create table forge_audit (
  id bigint generated always as identity primary key,
  tenant_id uuid,
  topic text not null,
  resource_id text not null,
  operation text not null check (operation in ('create', 'update', 'delete', 'restore')),
  version bigint not null,
  actor text not null default '',
  request_id text not null default '',
  changes jsonb not null check (jsonb_typeof(changes) = 'object'),
  created_at timestamptz not null default now()
);
create index forge_audit_resource on forge_audit (topic, resource_id, id);

-- A tenant sees its own rows, and those of resources that belong to no tenant.
alter table forge_audit enable row level security;
create policy forge_audit_tenant on forge_audit
  using (tenant_id is null or tenant_id = nullif(current_setting('forge.tenant_id', true), '')::uuid);

-- The first answer to a create, kept for a day. scope: who created what. Written in the create's own
-- transaction, so it is there if and only if the row is.
create table forge_idempotency (
  scope text not null,
  key text not null,
  request_hash text not null,
  status smallint not null,
  headers jsonb not null default '[]',
  body text not null,
  created_at timestamptz not null default now(),
  primary key (scope, key)
);
create index forge_idempotency_created on forge_idempotency (created_at);

-- forge: down
drop table forge_idempotency;
drop table forge_audit;
