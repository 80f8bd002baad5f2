-- The predecessor's names, for pages that were written for it: `bookings`, `videos` (a table of ours with its columns),
-- `user_settings`, `cameras`, `shared_links`, `system_status`. Views with the rights of who asks. What its pages wrote
-- may be written here too, and becomes rows of ours; what its device wrote follows from results now.
-- `insert ... on conflict` does not work on these views (PostgreSQL has no such thing for views with triggers).

-- --- status words ---

-- Out: the word for people follows the recording.
create or replace function ezrec.status_word(p_status text, p_state text, p_uploading boolean, p_uploaded boolean)
returns text
language sql immutable set search_path = '' as $$
    select case
        when p_status = 'cancelled' or p_state = 'cancelled' then 'cancelled'
        when p_state in ('failed', 'missed') then 'failed'
        when p_state in ('ready', 'partial') then 'Completed'
        when p_state = 'recording' then 'Recording'
        when p_state = 'finishing' and p_uploaded then 'Uploaded'
        when p_state = 'finishing' and p_uploading then 'Uploading'
        when p_state = 'finishing' then 'Processing'
        else 'confirmed'
    end
$$;

-- In: what was booked or called off; null for words that only ever said how far the device was.
create or replace function ezrec.status_of_word(p_word text) returns text
language plpgsql immutable set search_path = '' as $$
begin
    case lower(trim(coalesce(p_word, 'confirmed')))
        when 'confirmed', 'scheduled', 'booked', 'pending', 'active', '' then
            return 'confirmed';
        when 'cancelled', 'canceled', 'deleted' then
            return 'cancelled';
        when 'recording', 'recordingfinished', 'processing', 'uploading', 'uploaded', 'completed', 'failed',
            'video_processed', 'video_uploaded', 'skippedmissingfile' then
            return null;
        else
            raise exception '% is no status: confirmed or cancelled was expected', quote_literal(left(p_word, 40))
                using errcode = 'PT400';
    end case;
end $$;

-- --- times, in any form it wrote ---

-- With a zone: that moment. Without: the court's clock. A time of day alone: on that date.
create or replace function ezrec.legacy_moment(p_text text, p_date text, p_zone text) returns timestamptz
language plpgsql stable set search_path = '' as $$
declare
    v_text constant text := trim(p_text);
begin
    if v_text ~ '^\d{1,2}:\d\d(:\d\d(\.\d+)?)?$' then
        if p_date is null or p_date !~ '^\d{4}-\d\d-\d\d' then
            raise exception '% is a time of day without a date', quote_literal(v_text) using errcode = 'PT400';
        end if;
        return (left(p_date, 10) || ' ' || v_text)::timestamp at time zone p_zone;
    elsif v_text ~* '^\d{4}-\d\d-\d\d[t ]\d\d:\d\d(:\d\d(\.\d+)?)?$' then
        return v_text::timestamp at time zone p_zone;
    end if;
    return ezrec.moment(v_text);
exception
    when datetime_field_overflow or invalid_datetime_format then
        raise exception '% is no moment', quote_literal(left(v_text, 60)) using errcode = 'PT400';
end $$;

-- An end by the clock alone that is not after its start is on the next day.
create or replace function ezrec.legacy_end(p_text text, p_date text, p_zone text, p_start timestamptz) returns timestamptz
language plpgsql stable set search_path = '' as $$
declare
    v_date text := coalesce(p_date, to_char(p_start at time zone p_zone, 'YYYY-MM-DD'));
    v_end timestamptz := ezrec.legacy_moment(p_text, v_date, p_zone);
begin
    if v_end < p_start and trim(p_text) ~ '^\d{1,2}:\d\d' then
        return ezrec.legacy_moment(p_text, to_char(left(v_date, 10)::date + 1, 'YYYY-MM-DD'), p_zone);
    end if;
    return v_end;
end $$;

-- --- bookings ---

create or replace view public.bookings with (security_invoker = true) as
select
    b.id::text as id,
    b.owner::text as user_id,
    b.device_id::text as camera_id,
    ezrec.utc(b.starts_at) as start_time,
    ezrec.utc(b.ends_at) as end_time,
    to_char(b.starts_at at time zone d.timezone, 'YYYY-MM-DD') as date,
    ezrec.status_word(
        b.status, r.state,
        exists (
            select from public.results u where u.device_id = b.device_id and u.booking_id = b.id and u.kind = 'upload'
                and jsonb_typeof(u.body -> 'objects') = 'array' and u.body -> 'objects' <> '[]'
        ),
        exists (select from public.videos v where v.device_id = b.device_id and v.booking_id = b.id and v.name = 'film')
    ) as status,
    p.title,
    null::text as description,
    p.contacts[1] as email,
    b.id::text as recording_id,
    b.created_at,
    b.updated_at,
    b.kind,
    b.record,
    b.audience,
    b.layout,
    b.deliver,
    coalesce(p.contacts, '{}') as contacts
from public.court_bookings b
join public.devices d on d.id = b.device_id
left join public.booking_people p on p.device_id = b.device_id and p.booking_id = b.id
left join public.recordings r on r.device_id = b.device_id and r.booking_id = b.id;

-- The device a page means. Without one, or with the '0' of the older one, it is the only device the caller reaches; a
-- name no device has is refused and not guessed at.
create or replace function ezrec.legacy_device(p_camera text) returns public.devices
language plpgsql stable set search_path = '' as $$
declare
    v_device public.devices;
begin
    select d.* into strict v_device from public.devices d
    where case
        when coalesce(trim(p_camera), '') in ('', '0') then d.revoked_at is null
        else d.id = lower(trim(p_camera))
    end;
    return v_device;
exception
    when no_data_found or too_many_rows then
        raise exception 'there is no device %', quote_nullable(left(p_camera, 80)) using errcode = 'PT404';
end $$;

create or replace function ezrec.bookings_inserted() returns trigger
language plpgsql set search_path = '' as $$
declare
    v_device constant public.devices := ezrec.legacy_device(new.camera_id);
    v_start constant timestamptz := ezrec.legacy_moment(new.start_time, new.date, v_device.timezone);
    v_contacts constant text [] :=
        coalesce(nullif(new.contacts, '{}'), case when new.email is not null then array [new.email] end, '{}');
begin
    new.id := lower(coalesce(nullif(trim(new.id), ''), gen_random_uuid()::text));
    new.camera_id := v_device.id;
    new.user_id := lower(coalesce(nullif(trim(new.user_id), ''), ezrec.me()));
    insert into public.court_bookings (
        device_id, id, kind, starts_at, ends_at, status, record, audience, layout, deliver, owner
    ) values (
        v_device.id, new.id, coalesce(new.kind, 'booked'), v_start,
        ezrec.legacy_end(new.end_time, new.date, v_device.timezone, v_start),
        coalesce(ezrec.status_of_word(new.status), 'confirmed'), coalesce(new.record, 'yes'),
        coalesce(new.audience, 'link'), new.layout, coalesce(new.deliver, '{film}'), new.user_id
    );
    insert into public.booking_people (device_id, booking_id, title, contacts)
    values (v_device.id, new.id, coalesce(new.title, new.description), v_contacts);
    select b.* into new from public.bookings b where b.camera_id = v_device.id and b.id = new.id;
    return new;
end $$;
create or replace trigger bookings_inserted instead of insert on public.bookings
for each row execute function ezrec.bookings_inserted();

create or replace function ezrec.bookings_updated() returns trigger
language plpgsql set search_path = '' as $$
declare
    v_zone constant text := (select d.timezone from public.devices d where d.id = old.camera_id);
    v_start timestamptz := ezrec.moment(old.start_time);
    v_end timestamptz := ezrec.moment(old.end_time);
begin
    if (new.id, new.user_id, new.camera_id, new.kind) is distinct from (old.id, old.user_id, old.camera_id, old.kind) then
        raise exception 'id, user_id, camera_id and kind of a booking cannot be changed' using errcode = 'PT409';
    end if;
    if (new.start_time, new.date) is distinct from (old.start_time, old.date) then
        v_start := ezrec.legacy_moment(
            case -- a new date alone: the same time of day
                when new.start_time = old.start_time then to_char(v_start at time zone v_zone, 'HH24:MI:SS.US')
                else new.start_time
            end, new.date, v_zone
        );
    end if;
    if (new.end_time, new.date) is distinct from (old.end_time, old.date) then
        v_end := ezrec.legacy_end(
            case
                when new.end_time = old.end_time then to_char(v_end at time zone v_zone, 'HH24:MI:SS.US')
                else new.end_time
            end, new.date, v_zone, v_start
        );
    end if;
    update public.court_bookings b set
        starts_at = v_start, ends_at = v_end, record = coalesce(new.record, b.record),
        status = case
            when new.status is distinct from old.status then coalesce(ezrec.status_of_word(new.status), b.status)
            else b.status
        end,
        audience = coalesce(new.audience, b.audience), layout = new.layout, deliver = coalesce(new.deliver, b.deliver)
    where b.device_id = old.camera_id and b.id = old.id;
    if not found then
        return null;
    end if;
    if (new.title, new.contacts, new.email) is distinct from (old.title, old.contacts, old.email) then
        perform ezrec.change_people(
            (select b from public.court_bookings b where b.device_id = old.camera_id and b.id = old.id),
            jsonb_build_object('title', new.title, 'contacts', to_jsonb(case
                when new.contacts is distinct from old.contacts then coalesce(new.contacts, '{}')
                when new.email is distinct from old.email then array_remove(array [new.email] || old.contacts[2:], null)
                else old.contacts
            end))
        );
    end if;
    select b.* into new from public.bookings b where b.camera_id = old.camera_id and b.id = old.id;
    return new;
end $$;
create or replace trigger bookings_updated instead of update on public.bookings
for each row execute function ezrec.bookings_updated();

create or replace function ezrec.bookings_deleted() returns trigger
language plpgsql set search_path = '' as $$
begin
    delete from public.court_bookings b where b.device_id = old.camera_id and b.id = old.id;
    return old;
end $$;
create or replace trigger bookings_deleted instead of delete on public.bookings
for each row execute function ezrec.bookings_deleted();

-- --- logos and intro ---

create or replace view public.user_settings with (security_invoker = true) as
select
    m.who::text as user_id,
    max(k.key) filter (where m.slot = 'intro') as intro_video_path,
    max(k.key) filter (where m.slot = 'logo') as logo_path,
    max(k.key) filter (where m.slot = 'sponsor1') as sponsor_logo1_path,
    max(k.key) filter (where m.slot = 'sponsor2') as sponsor_logo2_path,
    max(k.key) filter (where m.slot = 'sponsor3') as sponsor_logo3_path,
    max(replace(m.place, '_', '-')) filter (where m.slot = 'logo') as logo_position
from public.user_media m
cross join lateral (
    select coalesce((select min(o.org_id) || '/' from public.members o where o.user_id = m.who), '')
        || 'assets/' || m.sha256 as key
) k
where m.whose = 'user'
group by m.who;

-- A file is looked at and written anew before it is shown, so a path cannot be put here; taking one away and moving the
-- logo can.
create or replace function ezrec.user_settings_written() returns trigger
language plpgsql set search_path = '' as $$
declare
    v_old jsonb := case when tg_op = 'INSERT' then '{}' else to_jsonb(old) end;
    v_new jsonb := to_jsonb(new);
    v_column text;
    v_slot text;
begin
    for v_column, v_slot in values
        ('intro_video_path', 'intro'), ('logo_path', 'logo'), ('sponsor_logo1_path', 'sponsor1'),
        ('sponsor_logo2_path', 'sponsor2'), ('sponsor_logo3_path', 'sponsor3')
    loop
        if v_new ->> v_column is not distinct from v_old ->> v_column then
            continue;
        elsif coalesce(v_new ->> v_column, '') = '' then
            delete from public.user_media m where m.whose = 'user' and m.who = new.user_id and m.slot = v_slot;
        else
            raise exception '%: upload the file with PUT /api/v1/users/%/media/%', v_column, new.user_id, v_slot
                using errcode = 'PT409';
        end if;
    end loop;
    if new.logo_position is distinct from v_old ->> 'logo_position' and new.logo_position is not null then
        update public.user_media m set place = replace(new.logo_position, '-', '_')
        where m.whose = 'user' and m.who = new.user_id and m.slot = 'logo';
    end if;
    return new;
end $$;
create or replace trigger user_settings_written instead of insert or update on public.user_settings
for each row execute function ezrec.user_settings_written();

-- --- the device, as its pages knew it ---

create or replace view public.cameras with (security_invoker = true) as
select
    d.id::text as id,
    coalesce(d.name, d.id) as name,
    d.org_id::text as org_id,
    case
        when d.revoked_at is not null then 'revoked'
        when s.seen_at is null or s.seen_at < ezrec.now() - interval '3 minutes' then 'offline'
        else coalesce(s.state, 'online')
    end as status,
    exists (select from public.recordings r where r.device_id = d.id and r.state = 'recording') as is_recording,
    s.seen_at as last_seen
from public.devices d
left join public.device_status s on s.device_id = d.id;

create or replace view public.system_status with (security_invoker = true) as
select
    ezrec.me() as user_id,
    d.id::text as camera_id,
    case
        when s.seen_at is null or s.seen_at < ezrec.now() - interval '3 minutes' then 'offline'
        when s.health #>> '{alarms,worst}' = 'critical' then 'critical'
        when s.health #>> '{alarms,worst}' is not null then 'warning'
        else 'healthy'
    end as status,
    r.booking_id is not null as is_recording,
    r.booking_id::text as current_booking_id,
    s.seen_at as last_heartbeat,
    s.seen_at as last_seen,
    ezrec.whole(s.health #> '{alarms,active}') as errors_count,
    ezrec.number(s.health -> 'cpu_pct') as cpu_usage_percent,
    ezrec.number(s.health -> 'memory_used_pct') as memory_usage_percent,
    round((100 * (1 - ezrec.number(s.health #> '{disk,free_bytes}')
        / nullif(ezrec.number(s.health #> '{disk,total_bytes}'), 0)))::numeric, 1) as disk_usage_percent,
    round((ezrec.number(s.health #> '{disk,total_bytes}') / 1e9)::numeric, 1) as disk_total_gb,
    round((ezrec.number(s.health #> '{disk,free_bytes}') / 1e9)::numeric, 1) as disk_free_gb,
    ezrec.number(s.health -> 'temperature_c') as temperature_celsius
from public.devices d
join public.device_status s on s.device_id = d.id
left join lateral (
    select c.booking_id from public.recordings c where c.device_id = d.id and c.state = 'recording'
    order by c.updated_at desc limit 1
) r on true;

-- --- links ---

-- The token is nobody's to read any more: only its hash is kept.
create or replace view public.shared_links with (security_invoker = true) as
select
    s.n as id,
    s.share_id,
    null::text as token,
    v.storage_path as video_key,
    b.owner::text as user_id,
    s.booking_id::text as booking_id,
    s.created_at,
    s.expires_at,
    s.views as access_count,
    s.downloads as total_downloads,
    s.revoked_at is not null as revoked,
    s.revoked_at
from public.shares s
join public.court_bookings b on b.device_id = s.device_id and b.id = s.booking_id
left join public.videos v on v.device_id = s.device_id and v.booking_id = s.booking_id and v.name = 'film';

create or replace function ezrec.shared_links_written() returns trigger
language plpgsql set search_path = '' as $$
begin
    if tg_op = 'INSERT' then
        raise exception 'a link is made with POST /api/v1/recordings/{id}/shares' using errcode = 'PT409';
    elsif tg_op = 'DELETE' or (new.revoked and not old.revoked) then
        update public.shares s set revoked_at = coalesce(s.revoked_at, ezrec.now()) where s.share_id = old.share_id;
    elsif (new.revoked, new.expires_at) is distinct from (old.revoked, old.expires_at) then
        raise exception 'a link can be revoked, and nothing else' using errcode = 'PT409';
    end if;
    return case tg_op when 'DELETE' then old else new end;
end $$;
create or replace trigger shared_links_written instead of insert or update or delete on public.shared_links
for each row execute function ezrec.shared_links_written();

insert into ezrec.migrations (name) values ('0011_predecessor') on conflict do nothing;
