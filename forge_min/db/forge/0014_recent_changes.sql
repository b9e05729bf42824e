-- forge: no transaction
-- The newest changes of a resource, for start pages.

drop index concurrently if exists forge_audit_recent;
create index concurrently forge_audit_recent on forge_audit (topic, tenant_id, id);

-- forge: down
drop index concurrently if exists forge_audit_recent;
