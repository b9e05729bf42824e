-- forge: generated

create table applicants (
  id uuid default forge_uuid7() not null,
  tenant_id uuid not null,
  name varchar(80) not null,
  email varchar(320) not null,
  born_on date,
  version bigint default 1 not null,
  created_at timestamptz default now() not null,
  updated_at timestamptz default now() not null,
  forge_search tsvector generated always as (setweight(to_tsvector('simple', coalesce(name, '')), 'A')) stored,
  constraint applicants_pkey primary key (id),
  constraint applicants_tenant_key unique (tenant_id, id),
  constraint applicants_email_key unique (tenant_id, email)
);

create table applications (
  id uuid default forge_uuid7() not null,
  tenant_id uuid not null,
  number varchar(12) not null,
  applicant_id uuid not null,
  status text default 'draft' not null,
  kind text not null,
  subject text not null,
  zones text[],
  begins_on date not null,
  ends_on date not null,
  fee numeric(9, 2) default 25.00 not null,
  version bigint default 1 not null,
  created_at timestamptz default now() not null,
  updated_at timestamptz default now() not null,
  created_by text,
  forge_search tsvector generated always as (setweight(to_tsvector('simple', coalesce(subject, '')), 'A')) stored,
  constraint applications_pkey primary key (id),
  constraint applications_tenant_key unique (tenant_id, id),
  constraint applications_status_check check (status in ('draft', 'submitted', 'rejected', 'approved', 'withdrawn')),
  constraint applications_kind_check check (kind in ('building', 'event', 'kiosk')),
  constraint applications_subject_max_len check (char_length(subject) <= 500),
  constraint applications_zones_check check (array_position(zones, null) is null),
  constraint applications_zones_max_items check (cardinality(zones) <= 5),
  constraint applications_fee_min check (fee >= 0),
  constraint applications_ends_on_begins_on_rule check ((ends_on >= begins_on)),
  constraint applications_number_begins_on_key unique (tenant_id, number, begins_on)
);

create table appointments (
  id uuid default forge_uuid7() not null,
  tenant_id uuid not null,
  slot_id uuid not null,
  application_id uuid not null,
  note varchar(200),
  version bigint default 1 not null,
  created_at timestamptz default now() not null,
  updated_at timestamptz default now() not null,
  constraint appointments_pkey primary key (id),
  constraint appointments_tenant_key unique (tenant_id, id),
  constraint appointments_slot_id_application_id_key unique (tenant_id, slot_id, application_id)
);

create table officers (
  id uuid default forge_uuid7() not null,
  tenant_id uuid not null,
  name varchar(80) not null,
  room varchar(10) not null,
  languages text[],
  version bigint default 1 not null,
  constraint officers_pkey primary key (id),
  constraint officers_tenant_key unique (tenant_id, id),
  constraint officers_languages_check check (languages <@ array['de', 'en', 'fr', 'tr']),
  constraint officers_languages_max_items check (cardinality(languages) <= 1000)
);

create table slots (
  id uuid default forge_uuid7() not null,
  tenant_id uuid not null,
  officer_id uuid not null,
  day date not null,
  begins_at time not null,
  length interval not null,
  places integer default 1 not null,
  version bigint default 1 not null,
  constraint slots_pkey primary key (id),
  constraint slots_tenant_key unique (tenant_id, id),
  constraint slots_begins_at_check check (begins_at < '24:00'),
  constraint slots_begins_at_min check (begins_at >= '07:00:00'),
  constraint slots_begins_at_max check (begins_at <= '19:00:00'),
  constraint slots_length_check check (length between '0' and '999999999 days 23:59:59.999999' and date_trunc('month', length) = '0'),
  constraint slots_length_min check (length >= 'PT10M'),
  constraint slots_length_max check (length <= 'PT4H'),
  constraint slots_places_min check (places >= 1),
  constraint slots_places_max check (places <= 20),
  constraint slots_officer_id_day_begins_at_key unique (tenant_id, officer_id, day, begins_at)
);

alter table applications
  add constraint applications_applicant_id_fkey foreign key (tenant_id, applicant_id) references applicants (tenant_id, id) on delete restrict;
alter table appointments
  add constraint appointments_slot_id_fkey foreign key (tenant_id, slot_id) references slots (tenant_id, id) on delete restrict;
alter table appointments
  add constraint appointments_application_id_fkey foreign key (tenant_id, application_id) references applications (tenant_id, id) on delete cascade;
alter table slots
  add constraint slots_officer_id_fkey foreign key (tenant_id, officer_id) references officers (tenant_id, id) on delete restrict;

create index applicants_name_idx on applicants (tenant_id, name, id);
create index applicants_search on applicants using gin (forge_search);
create index applications_number_idx on applications (tenant_id, number);
create index applications_applicant_id_idx on applications (tenant_id, applicant_id);
create index applications_status_idx on applications (tenant_id, status, id);
create index applications_kind_idx on applications (tenant_id, kind);
create index applications_begins_on_idx on applications (tenant_id, begins_on, id);
create index applications_status_begins_on_idx on applications (tenant_id, status, begins_on desc);
create index applications_search on applications using gin (forge_search);
create index appointments_slot_id_idx on appointments (tenant_id, slot_id);
create index appointments_application_id_idx on appointments (tenant_id, application_id);
create index officers_name_idx on officers (tenant_id, name, id);
create index officers_room_idx on officers (tenant_id, room);
create index officers_languages_idx on officers using gin (languages);
create index slots_officer_id_idx on slots (tenant_id, officer_id);
create index slots_day_idx on slots (tenant_id, day, id);

alter table applicants
  enable row level security;
create policy applicants_tenant on applicants
  using (tenant_id = nullif(current_setting('forge.tenant_id', true), '')::uuid);
alter table applications
  enable row level security;
create policy applications_tenant on applications
  using (tenant_id = nullif(current_setting('forge.tenant_id', true), '')::uuid);
alter table appointments
  enable row level security;
create policy appointments_tenant on appointments
  using (tenant_id = nullif(current_setting('forge.tenant_id', true), '')::uuid);
alter table officers
  enable row level security;
create policy officers_tenant on officers
  using (tenant_id = nullif(current_setting('forge.tenant_id', true), '')::uuid);
alter table slots
  enable row level security;
create policy slots_tenant on slots
  using (tenant_id = nullif(current_setting('forge.tenant_id', true), '')::uuid);

create view applicants_tenant with (check_option = local) as
  select id, tenant_id, name, email, born_on, version, created_at, updated_at, forge_search
  from applicants
  where tenant_id = nullif(current_setting('forge.tenant_id', true), '')::uuid;
create view applications_tenant with (check_option = local) as
  select id, tenant_id, number, applicant_id, status, kind, subject, zones, begins_on, ends_on, fee, version, created_at, updated_at, created_by, forge_search
  from applications
  where tenant_id = nullif(current_setting('forge.tenant_id', true), '')::uuid;
create view appointments_tenant with (check_option = local) as
  select id, tenant_id, slot_id, application_id, note, version, created_at, updated_at
  from appointments
  where tenant_id = nullif(current_setting('forge.tenant_id', true), '')::uuid;
create view officers_tenant with (check_option = local) as
  select id, tenant_id, name, room, languages, version
  from officers
  where tenant_id = nullif(current_setting('forge.tenant_id', true), '')::uuid;
create view slots_tenant with (check_option = local) as
  select id, tenant_id, officer_id, day, begins_at, length, places, version
  from slots
  where tenant_id = nullif(current_setting('forge.tenant_id', true), '')::uuid;

-- forge: down
drop view applicants_tenant, applications_tenant, appointments_tenant, officers_tenant, slots_tenant;
drop table applicants, applications, appointments, officers, slots;
