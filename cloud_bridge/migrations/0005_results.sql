-- What a device says, turned into what people see; and the account of who changed what.

-- A number of a body, or null: nothing a device writes may stop its rows from coming in.
create or replace function ezrec.number(p_value jsonb) returns double precision
language sql immutable set search_path = '' as $$
    select case
        when jsonb_typeof(p_value) = 'number' and abs((p_value #>> '{}')::numeric) < 1e30
            then round((p_value #>> '{}')::numeric, 9)::double precision
    end
$$;

create or replace function ezrec.whole(p_value jsonb) returns bigint
language sql immutable set search_path = '' as $$
    select case when abs(ezrec.number(p_value)) < 9e15 then round(ezrec.number(p_value))::bigint end
$$;

create or replace function ezrec.moment_or_null(p_text text) returns timestamptz
language plpgsql stable set search_path = '' as $$
begin
    return case when p_text is not null then ezrec.moment(p_text) end;
exception
    when sqlstate 'PT400' then
        return null;
end $$;

-- With its owner's rights: a device writes its results, and what is shown of them follows by itself.
-- Posters and receipts are no videos: they are in the result, and pages of the predecessor list every row here.
create or replace function ezrec.show_upload(p_result public.results, p_owner text) returns void
language plpgsql security definer set search_path = '' as $$
begin
    insert into public.videos as v (
        device_id, booking_id, name, user_id, filename, storage_path, bucket, file_size, sha256, date, uploaded_at
    )
    select distinct on (o ->> 'name')
        p_result.device_id, p_result.booking_id, o ->> 'name', p_owner, regexp_replace(o ->> 'key', '^.*/', ''),
        o ->> 'key', p_result.body ->> 'bucket', coalesce(ezrec.whole(o -> 'bytes'), 0), o ->> 'hash',
        (ezrec.moment_or_null(o ->> 'verified_at') at time zone d.timezone)::date,
        ezrec.moment_or_null(o ->> 'verified_at')
    from jsonb_array_elements(
        case jsonb_typeof(p_result.body -> 'objects') when 'array' then p_result.body -> 'objects' else '[]' end
    ) o
    join public.devices d on d.id = p_result.device_id
    where jsonb_typeof(o) = 'object' and o ->> 'name' not in ('poster', 'receipt') and o ->> 'key' is not null
        and ezrec.moment_or_null(o ->> 'verified_at') is not null
    on conflict (device_id, booking_id, name) do update set
        user_id = excluded.user_id, filename = excluded.filename, storage_path = excluded.storage_path,
        bucket = excluded.bucket, file_size = excluded.file_size, sha256 = excluded.sha256, date = excluded.date,
        uploaded_at = excluded.uploaded_at,
        removed_at = case when v.uploaded_at = excluded.uploaded_at then v.removed_at end;
end $$;
revoke all on function ezrec.show_upload from public;

create or replace function ezrec.result_written() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
    v_owner text;
begin
    insert into public.device_status as s (device_id, seen_at) values (new.device_id, ezrec.now())
    on conflict (device_id) do update set seen_at = excluded.seen_at;
    select b.owner into v_owner from public.court_bookings b where b.device_id = new.device_id and b.id = new.booking_id;
    case new.kind
        when 'recording' then
            insert into public.recordings (
                device_id, booking_id, user_id, state, progress_pct, eta_s, why, whistle_to_watchable_s, updated_at
            ) values (
                new.device_id, new.booking_id, v_owner, coalesce(new.body ->> 'state', 'scheduled'),
                least(100, greatest(0, coalesce(ezrec.whole(new.body -> 'progress_pct'), 0))),
                ezrec.number(new.body -> 'eta_s'), coalesce(new.body ->> 'why', ''),
                ezrec.number(new.body -> 'whistle_to_watchable_s'), new.stored_at
            ) on conflict (device_id, booking_id) do update set
                user_id = excluded.user_id, state = excluded.state, progress_pct = excluded.progress_pct,
                eta_s = excluded.eta_s, why = excluded.why,
                whistle_to_watchable_s = excluded.whistle_to_watchable_s, updated_at = excluded.updated_at;
        when 'upload' then
            perform ezrec.show_upload(new, v_owner);
        when 'availability' then
            update public.device_status set state = coalesce(new.body ->> 'state', state) where device_id = new.device_id;
        when 'health' then
            update public.device_status set health = new.body where device_id = new.device_id;
        else
            null;
    end case;
    if new.kind in ('receipt', 'upload') then
        update public.videos v set
            duration_seconds = ezrec.number(r.body #> '{film,duration_s}'),
            width = least(ezrec.whole(r.body #> '{film,width}'), 100000),
            height = least(ezrec.whole(r.body #> '{film,height}'), 100000)
        from public.results r
        where r.device_id = new.device_id and r.booking_id = new.booking_id and r.kind = 'receipt'
            and jsonb_typeof(r.body -> 'film') = 'object'
            and v.device_id = new.device_id and v.booking_id = new.booking_id and v.name = 'film';
    end if;
    return null;
end $$;
create or replace trigger result_written after insert or update on public.results
for each row execute function ezrec.result_written();

-- Notices and answers are signs of life too.
create or replace function ezrec.device_spoke() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    if ezrec.by_device() then
        update public.device_status set seen_at = ezrec.now() where device_id = new.device_id;
    end if;
    return null;
end $$;
create or replace trigger device_spoke after insert on public.notices
for each row execute function ezrec.device_spoke();
create or replace trigger device_spoke after update on public.device_commands
for each row execute function ezrec.device_spoke();

-- A booking that becomes known after its recording: a button pressed while the store was away.
create or replace function ezrec.booking_known() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    update public.recordings set user_id = new.owner where device_id = new.device_id and booking_id = new.id;
    update public.videos set user_id = new.owner where device_id = new.device_id and booking_id = new.id;
    return null;
end $$;
create or replace trigger booking_known after insert on public.court_bookings
for each row when (new.owner is not null) execute function ezrec.booking_known();

-- A film that is removed is not shown as there.
create or replace function ezrec.object_removed() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    update public.videos set removed_at = new.at
    where device_id = new.device_id and booking_id = new.booking_id and storage_path = new.key
        and uploaded_at = ezrec.moment_or_null(nullif(new.verified_at, ''));
    return null;
end $$;
create or replace trigger object_removed after insert on public.removals
for each row execute function ezrec.object_removed();

-- New logos reach every booking they concern that has not begun.
create or replace function ezrec.media_written() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
    v_row public.user_media := case when tg_op = 'DELETE' then old else new end;
begin
    if tg_op = 'UPDATE' and (new.sha256, new.place, new.size, new.opacity) is not distinct from
        (old.sha256, old.place, old.size, old.opacity) then
        return null;
    end if;
    -- All rows before the first number: who changes one of them has its row and then asks for a number.
    perform from public.court_bookings b
    where b.status = 'confirmed' and b.starts_at > ezrec.now()
        and case v_row.whose when 'user' then b.owner = v_row.who else b.org_id = v_row.who end
    order by b.device_id, b.id for update;
    update public.court_bookings set touched = touched + 1
    where status = 'confirmed' and starts_at > ezrec.now()
        and case v_row.whose when 'user' then owner = v_row.who else org_id = v_row.who end;
    return null;
end $$;
create or replace trigger media_written after insert or update or delete on public.user_media
for each row execute function ezrec.media_written();

-- --- audit ---

-- Who, which row (its key), which columns; never a value: contacts and titles would be among them.
create or replace function ezrec.audited() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
    v_new jsonb := case when tg_op <> 'DELETE' then to_jsonb(new) end;
    v_old jsonb := case when tg_op <> 'INSERT' then to_jsonb(old) end;
    v_row jsonb := coalesce(v_new, v_old);
    v_columns text [];
begin
    if tg_op = 'UPDATE' then
        select array_agg(n.key order by n.key) into v_columns
        from jsonb_each(v_new) n
        where n.value is distinct from v_old -> n.key
            and n.key not in ('changed', 'touched', 'updated_at', 'views', 'downloads');
        if v_columns is null then
            return null;
        end if;
    end if;
    insert into public.audit (role, who, org_id, table_name, operation, key, columns) values (
        coalesce(ezrec.claims() ->> 'role', session_user),
        coalesce(ezrec.claims() ->> 'device', ezrec.claims() ->> 'sub'),
        coalesce(v_row ->> 'org_id', (select d.org_id from public.devices d where d.id = v_row ->> 'device_id')),
        tg_table_name, lower(tg_op),
        (select jsonb_object_agg(k, v_row -> k) from unnest(tg_argv) k), v_columns
    );
    return null;
end $$;

do $$
declare
    v_table text;
    v_key text;
begin
    for v_table, v_key in values
        ('organisations', '''id'''), ('members', '''org_id'', ''user_id'''), ('courts', '''org_id'', ''id'''),
        ('devices', '''id'''), ('court_bookings', '''device_id'', ''id'''),
        ('booking_people', '''device_id'', ''booking_id'''), ('user_media', '''whose'', ''who'', ''slot'''),
        ('shares', '''share_id'''), ('recipients', '''device_id'', ''channel'''),
        ('api_tokens', '''org_id'', ''user_id'''), ('removal_orders', '''device_id'', ''booking_id'''),
        ('device_commands', '''device_id'', ''id''')
    loop
        execute format(
            'create or replace trigger zz_audited after insert or update or delete on public.%I'
            || ' for each row execute function ezrec.audited(%s)', v_table, v_key
        );
    end loop;
end $$;

-- Appended to and nothing else, also for the owner of the table: privileges do not bind an owner, a trigger does.
create or replace function ezrec.audit_stays() returns trigger
language plpgsql set search_path = '' as $$
begin
    raise exception 'the audit is only ever appended to' using errcode = '42501';
end $$;
create or replace trigger audit_stays before update or delete on public.audit
for each row execute function ezrec.audit_stays();
create or replace trigger audit_stays_whole before truncate on public.audit
for each statement execute function ezrec.audit_stays();

insert into ezrec.migrations (name) values ('0005_results') on conflict do nothing;
