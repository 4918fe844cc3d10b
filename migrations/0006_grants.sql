-- The privileges of each kind of role.

-- What a role sees without the right to read bodies and the values of headers: names, keys, times and sizes. A view reads its table
-- with the owner's rights, and its expressions are those of who asks. So an operator gets the body itself.

-- The names of headers, each with an empty value.
create function outbox.header_names(headers text) returns text
language plpgsql immutable strict set search_path = pg_catalog, pg_temp as $$
begin
    return (select coalesce(json_object_agg(k.name, ''), '{}') from json_object_keys(headers::json) as k (name));
exception when data_exception or program_limit_exceeded then
    return null;
end $$;

-- A message's body with an empty payload. It has only what is known to be harmless, because a body may be malformed.
create function outbox.without_contents(body text) returns text
language plpgsql immutable strict set search_path = pg_catalog, pg_temp as $$
begin
    return json_build_object('rpc', body::json ->> 'rpc', 'event', (
        select json_object_agg(k.name, k.value)
        from (select e.key as name, e.value
              from json_each(body::json -> 'event') as e
              where e.key in ('id', 'name', 'key', 'occurred_at', 'source', 'sequence')
                and json_typeof(e.value) in ('string', 'number', 'null')
              union all
              select 'headers', coalesce(outbox.header_names(body::json #>> '{event,headers}'), '{}')::json
              union all
              select 'payload', '{}') as k));
exception when data_exception or program_limit_exceeded then
    return '';
end $$;

create view outbox.event_shown as
select e.xid, e.xmin::text::bigint as written_by, e.seq, e.id, e.name, e.key, e.occurred_at, octet_length(e.payload) as payload_bytes,
       case when has_column_privilege('outbox.event'::regclass, 'headers', 'select') then e.headers
            else outbox.header_names(e.headers) end as headers
from outbox.event as e;

create view outbox.parked_shown as
select p.seq, p.id, p.name, p.key, p.occurred_at,
       case when has_column_privilege('outbox.parked'::regclass, 'headers', 'select') then p.headers
            else outbox.header_names(p.headers) end as headers
from outbox.parked as p;

create view outbox.delivery_shown as
select d.seq, d.queue, d.event_id, d.enqueued_at,
       case when has_column_privilege('outbox.delivery'::regclass, 'body', 'select') then d.body
            else outbox.without_contents(d.body) end as body
from outbox.delivery as d;

create view outbox.retry_shown as
select r.seq, r.queue, r.event_id, r.enqueued_at, r.attempts, r.due_at, r.token, r.last_code, r.last_error,
       case when has_column_privilege('outbox.retry'::regclass, 'body', 'select') then r.body
            else outbox.without_contents(r.body) end as body
from outbox.retry as r;

create view outbox.dead_letter_shown as
select l.seq, l.queue, l.event_id, l.attempts, l.code, l.reason, l.dead_at, octet_length(l.body) as body_bytes,
       case when has_column_privilege('outbox.dead_letter'::regclass, 'body', 'select') then l.body
            else outbox.without_contents(l.body) end as body
from outbox.dead_letter as l;

-- Lets a role do one thing and nothing more: be a 'publisher', the 'relay', a 'worker', an 'operator' (the commands of `outbox`), or
-- a 'viewer' (those that only show, without payloads and values of headers). Run by the schema's owner, again after each migration. A publisher can read nothing, not even its own events. It
-- can't choose an event's slot, time, or place in the order.
create function outbox.grant_to(role text, part text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    privilege text;
    leaf      regclass;
    callable  regprocedure;
begin
    execute format('grant usage on schema outbox to %I', role);
    case part
    when 'publisher' then
        foreach privilege in array array[
            'insert (id, name, key, payload, headers) on outbox.event',
            'usage on sequence outbox.event_seq', -- to draw the next number, not to set it
            'select on sequence outbox.event_slot'
        ] loop
            execute format('grant %s to %I', privilege, role);
        end loop;
    when 'relay' then
        foreach privilege in array array[
            'select, update (xid) on outbox.event', -- update: only in another cluster, once
            'update (seq) on outbox.event',       -- likewise
            'select, insert on outbox.cursor, outbox.delivery, outbox.parked, outbox.queue',
            'truncate on outbox.cursor',          -- what a leader needs to lock it, once a term
            'truncate on outbox.waking',
            'insert on outbox.history',
            'select on outbox.newest_cursor, outbox.queue_head, outbox.waking',
            'select, update on outbox.leader, outbox.ring, outbox.dedup_late',
            'update (turn) on outbox.queue',
            'select, insert, update, delete on outbox.claim, outbox.retry, outbox.dead_letter, outbox.receipt',
            'select, insert, delete on outbox.dedup',
            'select, delete on outbox.audit',
            'select on outbox.audit_shown',       -- by `outbox status` in its container
            'select on outbox.brake',
            'select, insert, update, delete on outbox.process, outbox.known_event, outbox.unknown_event',
            'usage, select, update on all sequences in schema outbox'
        ] loop
            execute format('grant %s to %I', privilege, role);
        end loop;
        for leaf in select i.inhrelid::regclass from pg_inherits as i join pg_class as c on c.oid = i.inhparent
                    where c.relnamespace = 'outbox'::regnamespace and c.relkind = 'p' and c.relname <> 'inbox' loop
            execute format('grant select, truncate on %s to %I', leaf, role);
        end loop;
    when 'worker' then
        foreach privilege in array array[
            'select on outbox.brake, outbox.delivery, outbox.queue_head',
            'select, insert on outbox.queue, outbox.dead_letter',
            'update (turn) on outbox.queue',
            'select, insert, update, delete on outbox.claim, outbox.retry',
            'select, insert, update on outbox.dedup',
            'select, insert, update on outbox.dedup_0, outbox.dedup_1, outbox.dedup_2, outbox.dedup_3, outbox.dedup_4',
            'select, insert on outbox.receipt',
            'select on outbox.receipt_0, outbox.receipt_1, outbox.receipt_2, outbox.receipt_3, outbox.receipt_4',
            'select, update on outbox.dedup_late',
            'select, insert, update, delete on outbox.process',
            'insert on outbox.history',
            'select on sequence outbox.history_slot',
            'usage on sequence outbox.claim_id, outbox.queue_id_seq'
        ] loop
            execute format('grant %s to %I', privilege, role);
        end loop;
    when 'operator' then
        foreach privilege in array array[
            'select on all tables in schema outbox',
            'select on all sequences in schema outbox' -- and writes nothing itself
        ] loop
            execute format('grant %s to %I', privilege, role);
        end loop;
    when 'viewer' then
        foreach privilege in array array[
            'select on outbox.ring, outbox.cursor, outbox.newest_cursor, outbox.leader, outbox.process, outbox.queue',
            'select (id, at, who, role, command, changed, ended_at, result, kind, rpc, bound, total, reached, place) on outbox.audit',
            'select (beat_at, stop_by, rate, rate_by, paused_by, taken_back) on outbox.audit',
            'select on outbox.queue_name, outbox.former_queue, outbox.queue_head, outbox.claim, outbox.brake, outbox.dropped',
            'select on outbox.dedup, outbox.dedup_late, outbox.receipt, outbox.done, outbox.history',
            'select on outbox.known_event, outbox.unknown_event',
            'select (xid, seq, id, name, key, occurred_at, slot) on outbox.event',
            'select (seq, queue, event_id, enqueued_at, slot) on outbox.delivery',
            'select (seq, queue, event_id, enqueued_at, attempts, due_at, token, last_code, last_error, failed_at, repair) on outbox.retry',
            'select (seq, queue, event_id, enqueued_at, attempts, code, reason, dead_at, repair) on outbox.dead_letter',
            'select (seq, id, name, key, occurred_at, code, reason, cut, parked_at) on outbox.parked',
            'select on outbox.event_shown, outbox.parked_shown, outbox.delivery_shown, outbox.retry_shown, outbox.dead_letter_shown',
            'select on outbox.audit_shown',
            'select on all sequences in schema outbox'
        ] loop
            execute format('grant %s to %I', privilege, role);
        end loop;
        -- To see whether a slot is empty, and to look up a success in its week.
        for leaf in select i.inhrelid::regclass from pg_inherits as i join pg_class as c on c.oid = i.inhparent
                    where c.relnamespace = 'outbox'::regnamespace and c.relkind = 'p' and c.relname <> 'inbox' loop
            privilege := case when leaf::text ~ '^outbox\.(event|delivery)_' then 'select (seq)' else 'select' end;
            execute format('grant %s on %s to %I', privilege, leaf, role);
        end loop;
    else
        raise exception 'there is no part % to play', quote_literal(part)
            using errcode = 'invalid_parameter_value', hint = 'publisher, relay, worker, operator or viewer';
    end case;
    if part <> 'publisher' then
        execute format('grant select on outbox.migration to %I', role);
        execute format('grant execute on function outbox.schema_compatible_from() to %I', role);
    end if;
    -- Relay and operator say how old the transactions of other roles are. A viewer does not: who sees the statements of other
    -- sessions may see a payload. On a managed service its administrator may grant that,
    -- and the schema's owner may not.
    if part in ('relay', 'operator') and not pg_has_role(role::name, 'pg_read_all_stats', 'usage') then
        begin
            execute format('grant pg_read_all_stats to %I', role);
        exception when insufficient_privilege then
            raise warning '% may not grant pg_read_all_stats. Until it is granted, % does not see how old the transactions of other roles are. As an administrator of the server: %',
                current_user, quote_ident(role), format('grant pg_read_all_stats to %I;', role);
        end;
    end if;
    -- Functions with the owner's rights are for operators, except the doorbell. All others do only what their caller may do.
    -- The inbox, if it is here, is granted by outbox.inbox_grant_to.
    for callable in
        select p.oid::regprocedure from pg_proc as p
        where p.pronamespace = 'outbox'::regnamespace and p.proname <> 'grant_to' and p.proname !~ '^inbox_'
          and p.prorettype <> 'trigger'::regtype -- called by its trigger alone
          and case when p.proname in ('enqueue', 'enqueue_all', 'wake') then part = 'publisher'
                   when p.prosecdef then part = 'operator'
                   -- The functions that enqueue calls read and write nothing.
                   else part <> 'publisher'
                        or p.proname in ('uuid_v7', 'check_entry', 'is_plain', 'is_sound', 'header_problem', 'payload_problem',
                                         'payload_bytes_max', 'is_json_object', 'keys_lost', 'has_huge_number') end
    loop
        execute format('grant execute on function %s to %I', callable, role);
    end loop;
end $$;
revoke all on all functions in schema outbox from public;
