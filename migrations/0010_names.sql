-- The names of events. A name that event_router.yaml does not list is most likely misspelt, and its event reaches nobody: so
-- the relay keeps the names that it knows, and those that it met and does not know.

-- The names in the event_router.yaml of the relay that leads, with subscribers or without. Empty until one has led that has
-- the file.
create table outbox.known_event (
    name text primary key
);

-- Unknown names that were put. Publishers choose them, so the relay writes at most a hundred.
create table outbox.unknown_event (
    name       text primary key,
    events     bigint not null,
    first_at   timestamptz not null default clock_timestamp(),
    last_at    timestamptz not null default clock_timestamp(),
    last_event uuid not null
);

-- Makes the known names these, at the start of a leader's term. Without a difference it writes nothing.
create function outbox.know_events(names text[]) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    delete from outbox.known_event where not name = any (names);
    insert into outbox.known_event (name)
    select n.name from unnest(names) as n(name)
    where not exists (select from outbox.known_event as k where k.name = n.name)
    order by n.name
    on conflict do nothing;
    delete from outbox.unknown_event where name = any (names) or last_at < clock_timestamp() - interval '14 days';
end $$;

-- Adds what a relay met since it last said so.
create function outbox.tell_unknown(names text[], events bigint[], last_events uuid[]) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    insert into outbox.unknown_event as u (name, events, last_event)
    select n.name, n.events, n.last_event
    from unnest(names, events, last_events) as n(name, events, last_event)
    where exists (select from outbox.unknown_event as u where u.name = n.name)
       or (select count(*) from outbox.unknown_event) < 100
    order by n.name
    on conflict (name) do update
        set events = u.events + excluded.events, last_at = clock_timestamp(), last_event = excluded.last_event;
end $$;

-- Refuses an event whose name the leading relay's event_router.yaml does not list. It runs with the owner's rights, because
-- publishers read nothing. Before a relay with the file has led, every name is admitted.
create function outbox.refuse_unknown_name() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if exists (select from outbox.known_event as k where k.name = new.name)
       or not exists (select from outbox.known_event) then
        return new;
    end if;
    raise exception 'nobody knows the event %: event_router.yaml does not list it', quote_literal(left(new.name, 128))
        using errcode = 'invalid_parameter_value',
              hint = 'correct the name, or list it there and deploy the relay first; an event without subscribers is listed with subscriber: []';
end $$;

-- Lets the database refuse unknown names, or no longer. While it is off there is no trigger, so it costs nothing. It waits two
-- seconds for transactions that publish, and then fails without a change.
create function outbox.set_strict_names(strict boolean) returns void
language plpgsql set search_path = pg_catalog, pg_temp set lock_timeout = '2s' as $$
declare
    is_strict boolean := exists (select from pg_trigger where tgrelid = 'outbox.event'::regclass and tgname = 'strict_names');
begin
    if strict and not is_strict then
        create trigger strict_names before insert on outbox.event
            for each row execute function outbox.refuse_unknown_name();
    elsif is_strict and not strict then
        drop trigger strict_names on outbox.event;
    end if;
end $$;

revoke all on function outbox.know_events(text[]), outbox.tell_unknown(text[], bigint[], uuid[]),
    outbox.refuse_unknown_name(), outbox.set_strict_names(boolean) from public;
