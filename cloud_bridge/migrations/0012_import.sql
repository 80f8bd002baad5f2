-- The predecessor's rows, taken over from where 0001 put them.

create or replace function ezrec.legacy_rows(p_table text) returns setof jsonb
language plpgsql stable set search_path = '' as $$
begin
    if to_regclass('predecessor.' || p_table) is not null then
        return query execute format('select to_jsonb(t) from predecessor.%I t', p_table);
    end if;
end $$;

-- One booking of before, with the state its status said.
create or replace function ezrec.import_booking(p_row jsonb, p_device public.devices) returns void
language plpgsql set search_path = '' as $$
declare
    v_id constant text := lower(p_row ->> 'id');
    v_start constant timestamptz := ezrec.legacy_moment(p_row ->> 'start_time', p_row ->> 'date', p_device.timezone);
    v_end constant timestamptz := ezrec.legacy_end(p_row ->> 'end_time', p_row ->> 'date', p_device.timezone, v_start);
    v_word constant text := lower(coalesce(p_row ->> 'status', ''));
begin
    insert into public.court_bookings (device_id, id, starts_at, ends_at, status, owner, created_at) values (
        p_device.id, v_id, v_start, v_end, coalesce(ezrec.status_of_word(p_row ->> 'status'), 'confirmed'),
        lower(p_row ->> 'user_id'), coalesce(ezrec.moment_or_null(p_row ->> 'created_at'), ezrec.now())
    );
    insert into public.booking_people (device_id, booking_id, title, contacts) values (
        p_device.id, v_id, left(coalesce(p_row ->> 'title', p_row ->> 'description'), 200),
        case when p_row ->> 'email' is null then '{}' else array [p_row ->> 'email'] end
    );
    if v_word in ('uploaded', 'completed', 'video_uploaded', 'failed') then
        insert into public.recordings (device_id, booking_id, user_id, state, progress_pct, updated_at) values (
            p_device.id, v_id, lower(p_row ->> 'user_id'), case v_word when 'failed' then 'failed' else 'ready' end,
            case v_word when 'failed' then 0 else 100 end, ezrec.now()
        ) on conflict do nothing;
    end if;
end $$;

create or replace function ezrec.import_video(p_row jsonb, p_device public.devices) returns void
language plpgsql set search_path = '' as $$
declare
    v_id constant text := lower(regexp_replace(
        coalesce(p_row ->> 'booking_id', p_row ->> 'recording_id', p_row ->> 'id'), '[^A-Za-z0-9_-]', '-', 'g'
    ));
    v_at constant timestamptz := coalesce(
        ezrec.moment_or_null(p_row ->> 'uploaded_at'), ezrec.moment_or_null(p_row ->> 'upload_timestamp'), ezrec.now()
    );
    v_key constant text := coalesce(p_row ->> 'storage_path', p_row ->> 'filename');
begin
    insert into public.videos (
        device_id, booking_id, name, user_id, filename, storage_path, video_url, file_size, duration_seconds, date, uploaded_at
    ) values (
        p_device.id, left(v_id, 64), 'film', lower(p_row ->> 'user_id'),
        coalesce(p_row ->> 'filename', regexp_replace(v_key, '^.*/', '')), v_key,
        coalesce(p_row ->> 'video_url', p_row ->> 'file_url'), coalesce(ezrec.whole(p_row -> 'file_size'), 0),
        ezrec.number(p_row -> 'duration_seconds'),
        coalesce(left(coalesce(p_row ->> 'date', p_row ->> 'recording_date'), 10)::date, v_at::date), v_at
    );
end $$;

-- A link of before goes on working until its time: only the hash of its token is kept.
create or replace function ezrec.import_link(p_row jsonb) returns void
language plpgsql set search_path = '' as $$
declare
    v_video public.videos;
    v_share constant text := 's' || left(replace(gen_random_uuid()::text, '-', ''), 16);
begin
    select v.* into v_video from public.videos v join public.court_bookings b on b.device_id = v.device_id and b.id = v.booking_id
    where v.storage_path = p_row ->> 'video_key' limit 1;
    if not found then
        raise exception 'no booking has the video %', p_row ->> 'video_key' using errcode = 'PT404';
    end if;
    insert into public.shares (share_id, device_id, booking_id, created_at, expires_at, revoked_at, views, downloads) values (
        v_share, v_video.device_id, v_video.booking_id,
        coalesce(ezrec.moment_or_null(p_row ->> 'created_at'), ezrec.now()),
        coalesce(ezrec.moment_or_null(p_row ->> 'expires_at'), ezrec.now() + interval '7 days'),
        case when (p_row ->> 'revoked')::boolean then coalesce(ezrec.moment_or_null(p_row ->> 'revoked_at'), ezrec.now()) end,
        coalesce(ezrec.whole(p_row -> 'access_count'), 0), coalesce(ezrec.whole(p_row -> 'total_downloads'), 0)
    );
    insert into public.share_tokens (token_hash, share_id)
    values (encode(sha256(convert_to(p_row ->> 'token', 'UTF8')), 'hex'), v_share);
end $$;

-- Takes the rows over that 0001 put aside. `p_devices`: which device each camera_id of before is, '{"0": "court-1"}'.
-- May be repeated: what is here already is passed over. Answers how many of each came, and what did not, with why.
create or replace function public.ezrec_import_predecessor(p_devices jsonb) returns jsonb
language plpgsql set search_path = '' as $$
declare
    v_table text;
    v_row jsonb;
    v_device public.devices;
    v_counts jsonb := '{"bookings": 0, "videos": 0, "shared_links": 0}';
    v_skipped jsonb := '[]';
begin
    foreach v_table in array array ['bookings', 'videos', 'shared_links'] loop
        for v_row in select * from ezrec.legacy_rows(v_table) loop
            begin
                if v_table = 'shared_links' then
                    perform ezrec.import_link(v_row);
                else
                    v_device := ezrec.legacy_device(coalesce(p_devices ->> (v_row ->> 'camera_id'), v_row ->> 'camera_id'));
                    if v_table = 'bookings' then
                        perform ezrec.import_booking(v_row, v_device);
                    else
                        perform ezrec.import_video(v_row, v_device);
                    end if;
                end if;
                v_counts := jsonb_set(v_counts, array [v_table], to_jsonb((v_counts ->> v_table)::integer + 1));
            exception
                when unique_violation then
                    null;
                when others then  -- one row of before must not keep the others back; it is named below
                    v_skipped := v_skipped || jsonb_build_object('table', v_table, 'id', v_row -> 'id', 'why', sqlerrm);
            end;
        end loop;
    end loop;
    return v_counts || jsonb_build_object('skipped', v_skipped);
end $$;

insert into ezrec.migrations (name) values ('0012_import') on conflict do nothing;
