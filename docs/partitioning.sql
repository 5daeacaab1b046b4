-- Turn the table of sessions into one that is hash-partitioned by the session's id, with its rows, keys,
-- indexes, owner and privileges; or into one of another number of partitions; or, with 0, back into a plain one.
--
--     psql -v ON_ERROR_STOP=1 -c "SET ciam.partitions = 16" -f docs/partitioning.sql "$DATABASE_URL"
--
-- Tested on PostgreSQL 15; made for 14 and newer. It is one transaction, during which nobody can use the table:
-- docs/explanation/scaling.md tells how long that takes and what else to know. Run it as the owner of the table.

DO $partitioning$
DECLARE
    partitions CONSTANT integer := coalesce(nullif(current_setting('ciam.partitions', true), ''), '8');
    sessions CONSTANT regclass := 'django_ciam_token_refreshtoken';
    old pg_class := (SELECT c FROM pg_class c WHERE c.oid = sessions);
    schema CONSTANT name := (SELECT nspname FROM pg_namespace WHERE oid = old.relnamespace);
    made CONSTANT text := format('%I.%I', schema, old.relname || '_new');
    present CONSTANT integer := (SELECT count(*) FROM pg_inherits WHERE inhparent = sessions);
    -- Of a partitioned table only the parts have storage options, and all have the same.
    options CONSTANT text := (
        SELECT array_to_string(reloptions, ', ') FROM pg_class
        WHERE oid = coalesce((SELECT min(inhrelid) FROM pg_inherits WHERE inhparent = sessions), sessions)
    );
    storage CONSTANT text := coalesce(' WITH (' || options || ')', '');
    keys CONSTANT oid[] := ARRAY(
        SELECT oid FROM pg_constraint WHERE conrelid = sessions AND contype IN ('p', 'u') ORDER BY contype, oid
    );
    indexes CONSTANT oid[] := ARRAY(
        SELECT indexrelid FROM pg_index
        WHERE indrelid = sessions AND indisvalid
            AND indexrelid NOT IN (SELECT conindid FROM pg_constraint WHERE oid = ANY (keys))
        ORDER BY indexrelid
    );
    -- What is done when the new table takes the place of the old one.
    drops text[] := '{}';
    renames text[] := '{}';
    adds text[] := '{}';
    item record;
    part text;
    command text;
BEGIN
    IF partitions NOT BETWEEN 0 AND 1024 THEN
        RAISE 'ciam.partitions is %; choose from 0 to 1024', partitions;
    ELSIF current_setting('transaction_isolation') <> 'read committed' THEN
        -- Otherwise what is committed while we wait for the lock would not be copied.
        RAISE 'run this after: SET default_transaction_isolation = ''read committed''';
    ELSIF partitions = present THEN
        RAISE NOTICE '% has % partitions already; nothing to do', sessions, partitions;
        RETURN;
    ELSIF EXISTS (SELECT FROM pg_trigger WHERE tgrelid = sessions AND NOT tgisinternal)
        OR EXISTS (SELECT FROM pg_policy WHERE polrelid = sessions)
        OR EXISTS (SELECT FROM pg_publication_rel WHERE prrelid = sessions) THEN
        RAISE '% has triggers or policies, or is in a publication; take them away and put them back afterwards',
            sessions;
    END IF;

    -- All locks at the beginning: whoever holds one and wants another makes us fail now or never.
    FOR item IN
        SELECT DISTINCT CASE WHEN conrelid = sessions THEN confrelid ELSE conrelid END::regclass AS name
        FROM pg_constraint WHERE contype = 'f' AND conparentid = 0 AND sessions IN (conrelid, confrelid)
    LOOP
        EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', item.name);
    END LOOP;
    EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', sessions);
    SET CONSTRAINTS ALL IMMEDIATE;

    -- Columns, defaults and checks.
    EXECUTE format('CREATE TABLE %s (LIKE %s INCLUDING ALL EXCLUDING INDEXES)%s', made, sessions,
        CASE WHEN partitions = 0 THEN storage ELSE ' PARTITION BY HASH (id)' END);
    FOR number IN 0 .. partitions - 1 LOOP
        part := format('%I.%I', schema, format('%s_p%sof%s', old.relname, number, partitions));
        EXECUTE format('CREATE TABLE %s PARTITION OF %s FOR VALUES WITH (MODULUS %s, REMAINDER %s)%s',
            part, made, partitions, number, storage);
        EXECUTE format('ALTER TABLE %s OWNER TO %I', part, pg_get_userbyid(old.relowner));
    END LOOP;

    EXECUTE format('INSERT INTO %s SELECT * FROM %s', made, sessions);

    -- The names as Django's migrations gave them, so that later migrations find them.
    FOR item IN SELECT oid, conname FROM pg_constraint WHERE oid = ANY (keys) LOOP
        EXECUTE format('ALTER TABLE %s ADD CONSTRAINT %I %s', made, 'ciam_new_' || item.oid,
            pg_get_constraintdef(item.oid));
        renames := renames || format('ALTER TABLE %s RENAME CONSTRAINT %I TO %I', made,
            'ciam_new_' || item.oid, item.conname);
    END LOOP;
    FOR item IN
        SELECT c.oid, c.relname, i.indisunique FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
        WHERE c.oid = ANY (indexes)
    LOOP
        EXECUTE format('CREATE %s %I ON %s%s', CASE WHEN item.indisunique THEN 'UNIQUE INDEX' ELSE 'INDEX' END,
            'ciam_new_' || item.oid, made, substring(pg_get_indexdef(item.oid) FROM ' USING .*'));
        renames := renames || format('ALTER INDEX %I.%I RENAME TO %I', schema,
            'ciam_new_' || item.oid, item.relname);
    END LOOP;
    FOR item IN
        SELECT oid, conname FROM pg_constraint
        WHERE conrelid = sessions AND contype = 'f' AND conparentid = 0
    LOOP
        EXECUTE format('ALTER TABLE %s ADD CONSTRAINT %I %s', made, item.conname,
            pg_get_constraintdef(item.oid));
    END LOOP;

    FOR item IN
        SELECT acl.privilege_type, acl.is_grantable,
            CASE WHEN acl.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(acl.grantee)) END AS grantee
        FROM aclexplode(old.relacl) acl
    LOOP
        EXECUTE format('GRANT %s ON %s TO %s%s', item.privilege_type, made, item.grantee,
            CASE WHEN item.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END);
    END LOOP;
    EXECUTE format('ALTER TABLE %s OWNER TO %I', made, pg_get_userbyid(old.relowner));

    -- A site may have tables of its own that refer to sessions.
    FOR item IN
        SELECT conrelid::regclass AS name, conname, oid FROM pg_constraint
        WHERE confrelid = sessions AND contype = 'f' AND conparentid = 0
    LOOP
        drops := drops || format('ALTER TABLE %s DROP CONSTRAINT %I', item.name, item.conname);
        adds := adds || format('ALTER TABLE %s ADD CONSTRAINT %I %s', item.name, item.conname,
            pg_get_constraintdef(item.oid));
    END LOOP;

    FOREACH command IN ARRAY drops || format('DROP TABLE %s', sessions) || renames
        || format('ALTER TABLE %s RENAME TO %I', made, old.relname) || adds
    LOOP
        EXECUTE command;
    END LOOP;
END
$partitioning$;

-- The planner and the admin's estimates know nothing of the new table yet.
ANALYZE django_ciam_token_refreshtoken;
