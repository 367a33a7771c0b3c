-- Tenancy: the role that services run as, and the one way in which a table belongs to tenants.
--
-- The role is neither owner nor superuser, so row-level security binds it. It cannot log in: the services log in as the
-- database's owner and become this role from the first moment of their connections on (the start-up setting `role`).
-- Roles belong to the whole server, so another database's migration may have made it already.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'answermesh_app') THEN
        BEGIN
            CREATE ROLE answermesh_app NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL; -- another database's migration was faster
        END;
    END IF;
    IF NOT pg_has_role(current_user, 'answermesh_app', 'SET') THEN
        GRANT answermesh_app TO CURRENT_USER WITH INHERIT FALSE, SET TRUE;
    END IF;
END
$$;

GRANT USAGE ON SCHEMA answermesh TO answermesh_app;

-- Makes a table one of tenants: only rows of the transaction's tenant (app.tenant) can be read or written, by anybody but
-- a superuser, the owner included. No tenant set = no row to read, and an error on write.
CREATE FUNCTION am_tenant_table(relation regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_attribute
        WHERE attrelid = relation AND attname = 'tenant_id' AND atttypid = 'text'::regtype AND attnotnull
    ) THEN
        RAISE EXCEPTION 'table % needs a column tenant_id text NOT NULL', relation;
    END IF;
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', relation);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', relation);
    EXECUTE format(
        'CREATE POLICY tenant ON %s
            USING (tenant_id = nullif(current_setting(''app.tenant'', true), ''''))
            WITH CHECK (tenant_id = nullif(current_setting(''app.tenant'', true), ''''))',
        relation
    );
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO answermesh_app', relation);
END
$$;
REVOKE EXECUTE ON FUNCTION am_tenant_table(regclass) FROM PUBLIC;
