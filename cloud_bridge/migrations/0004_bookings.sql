-- A court is one booking's at a time; the device's change counter; deleting is cancelling.

-- UTC text with Z, as schemas.base.utc_text writes it.
create or replace function ezrec.utc(p_at timestamptz) returns text
language sql stable set search_path = '' as $$
    select to_char(p_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
$$;

-- A moment from text that must have a zone.
create or replace function ezrec.moment(p_text text) returns timestamptz
language plpgsql stable set search_path = '' as $$
begin
    if p_text ~* '^\d{4}-\d\d-\d\d[t ]\d\d:\d\d(:\d\d(\.\d+)?)?\s*(z|utc|[+-]\d\d(:?\d\d)?)$' then
        return p_text::timestamptz;
    end if;
    raise exception '% is no moment: an ISO 8601 time with a zone was expected', coalesce(quote_literal(left(p_text, 60)), 'null')
        using errcode = 'PT400';
exception
    when datetime_field_overflow or invalid_datetime_format or invalid_parameter_value then
        raise exception '% is no moment: an ISO 8601 time with a zone was expected', quote_literal(left(p_text, 60))
            using errcode = 'PT400';
end $$;

create or replace function ezrec.digest(p_value jsonb) returns text
language sql immutable set search_path = '' as $$
    select encode(sha256(convert_to(p_value::text, 'UTF8')), 'hex')
$$;

create or replace function ezrec.booking_digest(
    p_kind text, p_start timestamptz, p_end timestamptz, p_record text, p_audience text, p_layout text,
    p_deliver text [], p_owner text, p_of text
) returns text
language sql stable set search_path = '' as $$
    select ezrec.digest(jsonb_build_array(
        p_kind, ezrec.utc(p_start), ezrec.utc(p_end), p_record, p_audience, p_layout, to_jsonb(p_deliver), p_owner, p_of
    ))
$$;

create or replace function ezrec.people_digest(p_title text, p_contacts text []) returns text
language sql immutable set search_path = '' as $$
    select ezrec.digest(jsonb_build_array(p_title, to_jsonb(p_contacts)))
$$;

-- The next number of a device's counter. Until its transaction ends nobody else gets one, so the numbers are in the
-- order of the commits: a poll that saw n has seen everything up to n. With its owner's rights: nobody may write the
-- counter by hand.
create or replace function ezrec.next_change(p_device text) returns bigint
language plpgsql security definer set search_path = '' as $$
declare
    v_changed bigint;
begin
    perform pg_advisory_xact_lock(hashtextextended('ezrec changes of ' || p_device, 0));
    insert into public.device_changes as c (device_id, changed) values (p_device, 1)
    on conflict (device_id) do update set changed = c.changed + 1
    returning changed into v_changed;
    return v_changed;
end $$;
revoke all on function ezrec.next_change from public;

-- Booked against booked, and manual against manual, cannot overlap even where the check below were got round (a
-- transaction that reads an old snapshot). One constraint cannot hold the whole rule: a booking may begin within a
-- manual recording that began before it, but not the other way round; and an end may be moved back whatever is there.
-- A constraint sees two rows and not which came first nor what one was before: so `ezrec.booking_written` asks.
do $$
begin
    if not exists (select from pg_constraint where conname = 'court_bookings_booked_apart') then
        alter table public.court_bookings add constraint court_bookings_booked_apart
            exclude using gist (org_id with =, court_id with =, tstzrange(starts_at, ends_at) with &&)
            where (status = 'confirmed' and kind = 'booked');
    end if;
    if not exists (select from pg_constraint where conname = 'court_bookings_manual_apart') then
        alter table public.court_bookings add constraint court_bookings_manual_apart
            exclude using gist (org_id with =, court_id with =, tstzrange(starts_at, ends_at) with &&)
            where (status = 'confirmed' and kind = 'manual');
    end if;
end $$;

-- What lies near a time; both ends belong to it, because time given back whole is a moment that still counts below.
create index if not exists court_bookings_time on public.court_bookings
using gist (org_id, court_id, tstzrange(starts_at, ends_at, '[]')) where status = 'confirmed' and kind <> 'cut';

-- One court, one booking at a time. Cuts lie where they like. A booking may begin within a manual recording that began
-- before it: the button gives way, or one forgotten press would close the court to customers.
create or replace function ezrec.refuse_overlap(p_row public.court_bookings) returns void
language plpgsql set search_path = '' as $$
declare
    v_other public.court_bookings;
begin
    perform pg_advisory_xact_lock(hashtextextended('ezrec court ' || p_row.org_id || '/' || p_row.court_id, 0));
    select b.* into v_other from public.court_bookings b
    where b.org_id = p_row.org_id and b.court_id = p_row.court_id
        and b.status = 'confirmed' and b.kind <> 'cut'
        and tstzrange(b.starts_at, b.ends_at, '[]') && tstzrange(p_row.starts_at, p_row.ends_at, '[]')
        and (b.device_id, b.id) <> (p_row.device_id, p_row.id)
        and b.starts_at < p_row.ends_at and b.ends_at > p_row.starts_at
        and not (b.kind = 'manual' and p_row.kind = 'booked' and b.starts_at < p_row.starts_at)
    order by b.starts_at limit 1;
    if found then
        raise exception '% would overlap % (% to %)',
            p_row.id, v_other.id, ezrec.utc(v_other.starts_at), ezrec.utc(v_other.ends_at)
            using errcode = '23P01', detail = v_other.id, hint = jsonb_build_object(
                'id', v_other.id, 'start', ezrec.utc(v_other.starts_at), 'end', ezrec.utc(v_other.ends_at)
            )::text;
    end if;
end $$;
revoke all on function ezrec.refuse_overlap from public;

-- Before a booking is written. With its owner's rights: who books must not see whose time is in the way.
create or replace function ezrec.booking_written() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    if tg_op = 'INSERT' then
        select d.org_id, d.court_id into new.org_id, new.court_id from public.devices d where d.id = new.device_id;
        if not found then
            raise exception 'there is no device %', new.device_id using errcode = 'PT404';
        end if;
        new.request := ezrec.booking_digest(
            new.kind, new.starts_at, new.ends_at, new.record, new.audience, new.layout, new.deliver, new.owner, new.cut_of
        );
    else
        if (new.device_id, new.id, new.kind, new.owner, new.cut_of) is distinct from
            (old.device_id, old.id, old.kind, old.owner, old.cut_of) then
            raise exception 'id, device, kind, owner and of of a booking cannot be changed' using errcode = 'PT409';
        end if;
        new.org_id := old.org_id;
        new.court_id := old.court_id;
        new.request := old.request;
        new.created_at := old.created_at;
        new.changed := old.changed;
        new.updated_at := old.updated_at;
        new.cancelled_at := old.cancelled_at;
        if new is not distinct from old then
            return new;
        end if;
    end if;
    if cardinality(new.deliver) > 10 then  -- one word a million times would be more than the device reads
        raise exception '%: deliver has % words, at most 10 were expected', new.id, cardinality(new.deliver)
            using errcode = 'PT409';
    end if;
    if new.ends_at < new.starts_at then
        raise exception '%: end % is before start %', new.id, ezrec.utc(new.ends_at), ezrec.utc(new.starts_at)
            using errcode = 'PT409';
    end if;
    if tg_op = 'INSERT' then
        new.cancelled_at := case new.status when 'cancelled' then ezrec.now() end;
    elsif new.status <> old.status then
        new.cancelled_at := case new.status when 'cancelled' then ezrec.now() end;
    end if;
    if new.status = 'confirmed' and new.kind <> 'cut' and (tg_op = 'INSERT' or (
        (new.starts_at, new.ends_at, new.status) is distinct from (old.starts_at, old.ends_at, old.status)
        -- giving time back is always allowed, whatever is there
        and not (old.status = 'confirmed' and new.starts_at >= old.starts_at and new.ends_at <= old.ends_at)
    )) then
        perform ezrec.refuse_overlap(new);
    end if;
    new.updated_at := ezrec.now();
    new.changed := ezrec.next_change(new.device_id);
    return new;
end $$;
create or replace trigger booking_written before insert or update on public.court_bookings
for each row execute function ezrec.booking_written();

-- A booking never vanishes because somebody deleted it: it is cancelled, and the device hears of it. Rows go with
-- `ezrec_prune` alone, when they are past their time.
create or replace function ezrec.booking_deleted() returns trigger
language plpgsql set search_path = '' as $$
begin
    if current_setting('ezrec.pruning', true) = 'on' and pg_has_role(current_user, 'service_role', 'member') then
        return old;
    end if;
    update public.court_bookings set status = 'cancelled' where device_id = old.device_id and id = old.id;
    return null;
end $$;
create or replace trigger booking_deleted before delete on public.court_bookings
for each row execute function ezrec.booking_deleted();

-- Title and contacts: what tells one request from another, and a change of them is one of the booking.
create or replace function ezrec.people_written() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    if exists (select from unnest(new.contacts) c where char_length(c) > 320) then
        raise exception 'a contact of % is too long, at most 320 characters were expected', new.booking_id
            using errcode = 'PT409';
    end if;
    if tg_op = 'INSERT' then
        new.request := ezrec.people_digest(new.title, new.contacts);
    elsif (new.device_id, new.booking_id) is distinct from (old.device_id, old.booking_id) then
        raise exception 'whose contacts these are cannot be changed' using errcode = 'PT409';
    else
        new.request := old.request;
        if (new.title, new.contacts) is distinct from (old.title, old.contacts) then
            update public.court_bookings set touched = touched + 1
            where device_id = new.device_id and id = new.booking_id;
        end if;
    end if;
    return new;
end $$;
create or replace trigger people_written before insert or update on public.booking_people
for each row execute function ezrec.people_written();

create or replace function ezrec.share_written() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    if tg_op = 'UPDATE' then
        if (new.share_id, new.device_id, new.booking_id) is distinct from (old.share_id, old.device_id, old.booking_id) then
            raise exception 'whose share this is cannot be changed' using errcode = 'PT409';
        end if;
        new.revoked_at := coalesce(old.revoked_at, new.revoked_at);  -- ended is ended, since the first time
        new.changed := old.changed;
        if (new.expires_at, new.revoked_at, new.delivered_at) is not distinct from
            (old.expires_at, old.revoked_at, old.delivered_at) then
            return new;
        end if;
    elsif new.share_id !~ '^[a-z0-9_-]{1,64}$' or new.created_at not between '1970-01-01Z' and '2199-12-31Z' then
        raise exception 'a share needs an id of a-z, 0-9, _ and -, and a moment of this age' using errcode = 'PT409';
    end if;
    -- With an end that nobody can read the device would ask for its share for ever.
    if new.expires_at not between '1970-01-01Z' and '2199-12-31Z' then
        raise exception 'the end of share %: a year from 1970 to 2199 was expected', new.share_id using errcode = 'PT409';
    end if;
    new.changed := ezrec.next_change(new.device_id);
    return new;
end $$;
create or replace trigger share_written before insert or update on public.shares
for each row execute function ezrec.share_written();

create or replace function ezrec.command_written() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    if tg_op = 'INSERT' then
        if new.deadline not between '1970-01-01Z' and '2199-12-31Z'
            or new.created_at not between '1970-01-01Z' and '2199-12-31Z' then
            raise exception 'command %: a year from 1970 to 2199 was expected', new.id using errcode = 'PT409';
        end if;
        new.changed := ezrec.next_change(new.device_id);
    end if;
    return new;
end $$;
create or replace trigger command_written before insert on public.device_commands
for each row execute function ezrec.command_written();

-- A new device has its counter and its status; switching automatic recording is worth a poll.
create or replace function ezrec.device_written() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    if not exists (select from pg_timezone_names where name = new.timezone) then
        raise exception '% is no time zone: a name like Europe/Berlin was expected', quote_literal(new.timezone)
            using errcode = 'PT400';
    end if;
    if tg_op = 'INSERT' then
        insert into public.device_changes (device_id) values (new.id);
        insert into public.device_status (device_id) values (new.id);
    elsif (new.id, new.org_id) is distinct from (old.id, old.org_id) then
        raise exception 'a device keeps its id and its organisation: make another one' using errcode = 'PT409';
    elsif new.automatic <> old.automatic then
        perform ezrec.next_change(new.id);
    end if;
    return null;
end $$;
create or replace trigger device_written after insert or update on public.devices
for each row execute function ezrec.device_written();

insert into ezrec.migrations (name) values ('0004_bookings') on conflict do nothing;
