-- What publishers call.

-- 48 bits of milliseconds over the first ones of a v4, and its version's bits set to 7. One expression, so that it becomes
-- part of the statement that calls it: planned by itself it cost more than the INSERT.
create function outbox.uuid_v7() returns uuid
language sql volatile parallel safe
return encode(set_bit(set_bit(
    overlay(uuid_send(gen_random_uuid()) placing
        substring(int8send(floor(extract(epoch from clock_timestamp()) * 1000)::bigint) from 3) from 1 for 6),
    52, 1), 53, 1), 'hex')::uuid;

create function outbox.payload_bytes_max() returns integer
language sql immutable parallel safe return 245760;

-- A text that is no JSON raises here and is caught here: Postgres's own message would quote the payload.
create function outbox.is_json_object(value text) returns boolean
language plpgsql immutable strict parallel safe set search_path = pg_catalog, pg_temp as $$
begin
    return json_typeof(value::json) = 'object';
exception when invalid_text_representation or statement_too_complex then
    return false;
end $$;

-- How many keys a JSON text has more than the jsonb that was made of it, which keeps one of two equal ones: counted by their
-- colons. A colon within a text counts on both sides, one that is written \u003a (behind an even number of backslashes) only
-- when it is written out.
create function outbox.keys_lost(value text, written text) returns integer
language sql immutable strict parallel safe
return octet_length(value) - octet_length(replace(value, ':', ''))
     + (octet_length(replace(value, '\\', '')) - octet_length(replace(replace(replace(value, '\\', ''), '\u003a', ''), '\u003A', ''))) / 6
     - octet_length(written) + octet_length(replace(written, ':', ''));

-- Whether a number is one that a double turns into infinity: half a step above the largest. Written out it has 309 digits.
create function outbox.has_huge_number(value jsonb) returns boolean
language sql immutable strict parallel safe
return jsonb_path_exists(value, 'strict $.** ? (@ >= 1.797693134862315807937289714053e308 || @ <= -1.797693134862315807937289714053e308)');

-- What is wrong with a payload, or null. What no reader of proto3 JSON takes must not get into the outbox: nobody could
-- repair it there. tests/payloads.json has the cases; the publisher's library has the same rule.
create function outbox.payload_problem(payload text) returns text
language plpgsql immutable strict parallel safe set search_path = pg_catalog, pg_temp as $$
declare
    document jsonb;
    written  text;
begin
    document := payload::jsonb;
    if jsonb_typeof(document) <> 'object' then
        return 'is not a JSON object';
    end if;
    written := document::text;
    if outbox.keys_lost(payload, written) <> 0 then
        return 'has a key twice in one object';
    end if;
    if octet_length(written) >= 309 and written ~ '[0-9]{40}' and outbox.has_huge_number(document) then
        return 'has a number beyond what a double holds';
    end if;
    return null;
exception
    when numeric_value_out_of_range then
        return 'has a number beyond what a double holds';
    when statement_too_complex then
        return 'is nested too deep';
    when invalid_text_representation or untranslatable_character or character_not_in_repertoire then
        return case when outbox.is_json_object(payload)
               then 'has an escape that stands for no character: \u0000, or half of a surrogate pair'
               else 'is not a JSON object' end;
end $$;

-- The first header that may not be kept, and why; null without one. It names the header and never its value. Postgres quotes the
-- value in its own message for an escape that no text can hold: so that is caught, too. The publisher's library has the same rule.
create function outbox.header_problem(event text, headers text) returns text
language plpgsql immutable strict parallel safe set search_path = pg_catalog, pg_temp as $$
declare
    header  text;
    value   json;
    problem text;
begin
    for header, value in select h.key, h.value from json_each(headers::json) as h loop
        begin
            problem := case
                when header !~ '^[a-z][a-z0-9-]{0,63}$' then
                    'is malformed: names are at most 64 lower-case letters, digits and dashes'
                when header ~ '^(outbox-|connect-|content-|accept|grpc-|proxy-)'
                  or header in ('host', 'connection', 'keep-alive', 'te', 'trailer', 'transfer-encoding', 'upgrade',
                                'authorization', 'cookie', 'idempotency-key', 'user-agent') then
                    'is reserved: the call to the RPC sets it itself'
                when header ~ '-bin$' then
                    'is reserved: in gRPC the value of a name that ends in -bin is base64'
                when json_typeof(value) <> 'string' then
                    'has a value that is not a text'
                when (value #>> '{}') !~ '^[ -~]*$' then
                    'has a value that is not printable ASCII'
            end;
        exception when untranslatable_character or character_not_in_repertoire or invalid_text_representation then
            problem := 'has a value that is not printable ASCII';
        end;
        if problem is not null then
            return 'header `' || regexp_replace(left(header, 64), '[^ -~]', '?', 'g') || '` of ' || event || ' ' || problem;
        end if;
    end loop;
    return null;
exception when invalid_text_representation or untranslatable_character or character_not_in_repertoire or statement_too_complex then
    return 'a header of ' || event || ' has an escape in its name that no text can hold';
end $$;

create function outbox.check_entry(name text, payload text, key text, headers text) returns void
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
declare
    problem text;
begin
    if name is null or name !~ '^[a-z][a-z0-9_]{0,127}$' then
        raise exception 'event name % is not lower_snake_case of at most 128 characters', coalesce(quote_literal(left(name, 128)), 'null')
            using errcode = 'invalid_parameter_value', hint = 'write it as in event_router.yaml, for example event_hoge_updated';
    end if;
    if payload is null then
        raise exception 'payload of % is null', name
            using errcode = 'null_value_not_allowed', hint = 'pass the event''s message as proto3 JSON, at least {}';
    end if;
    if octet_length(payload) > outbox.payload_bytes_max() then
        raise exception 'payload of % is % bytes; at most % fit on the bus', name, octet_length(payload), outbox.payload_bytes_max()
            using errcode = 'program_limit_exceeded', hint = 'put large data where the subscriber can fetch it, and its address in the event';
    end if;
    problem := outbox.payload_problem(payload);
    if problem is not null then
        raise exception 'payload of % %', name, problem
            using errcode = 'invalid_parameter_value', hint = 'pass the event''s message as proto3 JSON, for example {"hogeId":"1"}';
    end if;
    if octet_length(key) > 512 then
        raise exception 'key of % is % bytes; at most 512 are allowed', name, octet_length(key)
            using errcode = 'program_limit_exceeded', hint = 'use the id of what the event is about';
    end if;
    if headers is not null then
        if octet_length(headers) > 8192 then
            raise exception 'headers of % are % bytes; at most 8192 are allowed', name, octet_length(headers)
                using errcode = 'program_limit_exceeded', hint = 'headers are for tracing and routing; data belongs in the payload';
        end if;
        if not outbox.is_json_object(headers) then
            raise exception 'headers of % are not a JSON object', name
                using errcode = 'invalid_parameter_value', hint = 'for example {"tenant":"t-1"}';
        end if;
        problem := outbox.header_problem(name, headers);
        if problem is not null then
            raise exception '%', problem
                using errcode = 'invalid_parameter_value', hint = 'a header is a name in lower case and a short text, for example {"tenant":"t-1"}';
        end if;
    end if;
end $$;

-- Wakes the relay when it sleeps, and only then: the relay holds this lock exclusively while it is asleep. A publisher that
-- gets it shared has seen the relay awake and keeps it so until its transaction ends, because the relay can't fall asleep
-- while the lock is held, and polls once more when it is. A notify on every commit would hold a database-wide lock
-- across the commit's flush and cost publishers most of their throughput.
--
-- The notification itself waits for the end of the transaction: PREPARE TRANSACTION refuses a transaction that has
-- notified, and only at its end is it known how it ends. A prepared transaction's events are found by the relay's
-- fallback poll (`relay --fallback`) if it sleeps when they are committed.
create unlogged table outbox.waking () with (autovacuum_enabled = off); -- truncated by the relay

create function outbox.notify_relay() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    -- Null where a statement of the extended protocol commits by itself.
    if coalesce(current_query(), '') !~* ('(^|;)([[:space:]]|/[*].*?[*]/|--[^' || chr(10) || ']*' || chr(10) || ')*prepare[[:space:]]+transaction[[:space:]]+(e|u&)?[''$]') then
        perform pg_notify('outbox', '');
    end if;
    return null;
end $$;

create constraint trigger wake after insert on outbox.waking
deferrable initially deferred for each row execute function outbox.notify_relay();

-- Returns true, so that an INSERT can call it in its condition: `insert into outbox.event (id, name, key, payload, headers)
-- select … where pg_try_advisory_xact_lock_shared(1869968994, 1) or outbox.wake()`. The library sends this statement.
create function outbox.wake() returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if not pg_try_advisory_xact_lock_shared(1869968994, 1) then
        insert into outbox.waking default values;
    end if;
    return true;
end $$;

-- is_plain: whether everything except the payload is certainly right. is_sound: whether the payload certainly is, with its
-- jsonb as text. If they are not certain, outbox.check_entry decides. They are bound here and have no sub-selects, so that
-- Postgres inlines them.
create function outbox.is_plain(name text, payload text, key text, headers text) returns boolean
language sql immutable parallel safe
return headers is null and (key is null or octet_length(key) <= 512)
   and octet_length(name) <= 128 and ascii(name) between 97 and 122
   and translate(name, 'abcdefghijklmnopqrstuvwxyz0123456789_', '') = ''
   and octet_length(payload) <= outbox.payload_bytes_max();

create function outbox.is_sound(payload text, written text) returns boolean
language sql immutable parallel safe
return ascii(written) = ascii('{') and strpos(payload, '\u003') = 0
   and octet_length(payload) - octet_length(replace(payload, ':', '')) = octet_length(written) - octet_length(replace(written, ':', ''))
   and (octet_length(written) < 309 or written !~ '[0-9]{40}');

-- Publishes one event in the caller's transaction: if that commits, the event reaches every subscriber; if it
-- rolls back, nobody ever sees it. Returns the event's id.
--
-- It sets no search path and has no owner's rights, because both take longer than the doorbell. So all of its names are
-- qualified, and every operator is in a function that was bound when it was created.
create function outbox.enqueue(name text, payload text, key text default null, headers text default null, id uuid default null)
returns uuid
language plpgsql as $$
#variable_conflict use_variable
declare
    written  text;
    is_sound boolean;
begin
    -- A right event is recognised here, without a call. outbox.check_entry, which names the mistake, takes as long as the
    -- INSERT.
    if outbox.is_plain(name, payload, key, headers) then
        begin
            written := payload::pg_catalog.jsonb;
        exception when invalid_text_representation or untranslatable_character or character_not_in_repertoire
                    or numeric_value_out_of_range or statement_too_complex then
            null;
        end;
        is_sound := outbox.is_sound(payload, written);
    end if;
    if is_sound is not true then
        perform outbox.check_entry(name, payload, key, headers);
    end if;
    if not pg_catalog.pg_try_advisory_xact_lock_shared(1869968994, 1) then
        perform outbox.wake();
    end if;
    id := coalesce(id, outbox.uuid_v7());
    insert into outbox.event (id, name, key, payload, headers) values (id, name, key, payload, headers);
    return id;
end $$;

-- The same of what builds JSON: jsonb_build_object, to_jsonb, a column, a driver's parameter. A literal, whose type is not
-- known, is taken for text. One expression, so that it becomes part of the statement that calls it.
create function outbox.enqueue(name text, payload jsonb, key text default null, headers jsonb default null, id uuid default null)
returns uuid
language sql volatile
return outbox.enqueue(name, payload::text, key, headers::text, id);

-- And of json: row_to_json, and what SQLAlchemy's type JSON binds.
create function outbox.enqueue(name text, payload json, key text default null, headers json default null, id uuid default null)
returns uuid
language sql volatile
return outbox.enqueue(name, payload::text, key, headers::text, id);

-- The same for many, in the order of the arrays, with one statement and one look at whether the relay sleeps.
create function outbox.enqueue_all(names text[], payloads text[], keys text[], headers text[], ids uuid[])
returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if names is null or cardinality(names) = 0 then
        return;
    end if;
    if cardinality(names) <> cardinality(payloads) or cardinality(names) <> cardinality(keys)
       or cardinality(names) <> cardinality(headers) or cardinality(names) <> cardinality(ids) then
        raise exception 'names, payloads, keys, headers and ids differ in length'
            using errcode = 'invalid_parameter_value', hint = 'pass null elements for events without key or headers';
    end if;
    perform outbox.check_entry(e.name, e.payload, e.key, e.headers)
       from unnest(names, payloads, keys, headers) as e(name, payload, key, headers);
    insert into outbox.event (id, name, key, payload, headers)
    select coalesce(e.id, outbox.uuid_v7()), e.name, e.key, e.payload, e.headers
    from unnest(ids, names, keys, payloads, headers) with ordinality as e(id, name, key, payload, headers, n)
    order by e.n;
    perform outbox.wake();
end $$;

-- The same of arrays of jsonb. It takes no ids: with five arguments a driver's untyped parameters could mean either function.
create function outbox.enqueue_all(names text[], payloads jsonb[], keys text[] default null, headers jsonb[] default null)
returns void
language sql volatile
return outbox.enqueue_all(names, payloads::text[],
    coalesce(keys, array_fill(null::text, array[coalesce(cardinality(names), 0)])),
    coalesce(headers::text[], array_fill(null::text, array[coalesce(cardinality(names), 0)])),
    array_fill(null::uuid, array[coalesce(cardinality(names), 0)]));
