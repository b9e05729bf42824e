-- Invitations to a tenant, which count only when the owner of the email uses the link.

-- joins: the id of the tenant, the author, and the roles there, separated by spaces; '' for other links.
alter table forge_reset add column joins text not null default '';

-- forge: down
alter table forge_reset drop column joins;
