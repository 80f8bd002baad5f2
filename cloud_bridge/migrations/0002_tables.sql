-- Every table. Who may do what is in 0003 and 0013, what happens by itself in 0004 and 0005.

create table if not exists public.organisations (
    id ezrec.id primary key,
    name text not null,
    created_at timestamptz not null default now()
);

-- A person (`sub` of the token: the id in auth.users) in an organisation.
create table if not exists public.members (
    org_id ezrec.id not null references public.organisations (id),
    user_id ezrec.id not null,
    role text not null check (role in ('user', 'operator', 'admin')),
    created_at timestamptz not null default now(),
    primary key (org_id, user_id)
);
create index if not exists members_user on public.members (user_id);

create table if not exists public.courts (
    org_id ezrec.id not null references public.organisations (id),
    id ezrec.id not null,
    name text not null,
    created_at timestamptz not null default now(),
    primary key (org_id, id)
);

-- `revoked_at` ends every key of the device at once; `keys_from` ends those minted before that moment.
create table if not exists public.devices (
    id ezrec.id primary key,
    org_id ezrec.id not null references public.organisations (id),
    court_id ezrec.id not null,
    name text,
    timezone text not null default 'UTC',
    automatic boolean not null default true,
    keys_from timestamptz,
    revoked_at timestamptz,
    created_at timestamptz not null default now(),
    foreign key (org_id, court_id) references public.courts (org_id, id)
);
create index if not exists devices_org on public.devices (org_id);

-- One counter a device over bookings, shares and commands, given out in the order of the commits.
create table if not exists public.device_changes (
    device_id ezrec.id primary key references public.devices (id),
    changed bigint not null default 0
);

-- `request` tells the same request from another one with the same id, also after the row was changed.
-- `touched` rises with a change of title, contacts, logos or intro, so that such a change counts as one of the booking.
create table if not exists public.court_bookings (
    device_id ezrec.id not null references public.devices (id),
    id ezrec.id not null,
    org_id ezrec.id not null,
    court_id ezrec.id not null,
    kind text not null default 'booked' check (kind in ('booked', 'manual', 'cut')),
    starts_at timestamptz not null,
    ends_at timestamptz not null,
    status text not null default 'confirmed' check (status in ('confirmed', 'cancelled')),
    record text not null default 'yes' check (record in ('yes', 'no')),
    audience text not null default 'link' check (audience in ('link', 'code', 'members')),
    layout text check (layout in ('side_by_side', 'stacked')),
    deliver text [] not null default '{film}'
        check (deliver <@ array ['film', 'merged', 'cameras'] and array_position(deliver, null) is null),
    owner ezrec.id,
    cut_of ezrec.id,
    request text not null,
    touched integer not null default 0,
    changed bigint not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    cancelled_at timestamptz,
    primary key (device_id, id),
    unique (device_id, changed),
    check (starts_at >= '1970-01-01Z' and ends_at < '9999-01-01Z')
);
create index if not exists court_bookings_start on public.court_bookings (device_id, starts_at, id);
create index if not exists court_bookings_owner on public.court_bookings (owner, starts_at);

-- Personal, so in a table of its own: a device may write a row for a booking made at the court, and read none.
create table if not exists public.booking_people (
    device_id ezrec.id not null,
    booking_id ezrec.id not null,
    title text check (char_length(title) <= 200),
    contacts text [] not null default '{}'
        check (cardinality(contacts) <= 20 and array_position(contacts, null) is null),
    request text not null,
    primary key (device_id, booking_id),
    foreign key (device_id, booking_id) references public.court_bookings (device_id, id) on delete cascade
);

-- The last body of each kind of a booking, or of the device (then `booking_id` is its id). The booking need not be known.
create table if not exists public.results (
    device_id ezrec.id not null references public.devices (id),
    booking_id ezrec.id not null,
    kind text not null check (kind ~ '^[a-z0-9_]{1,40}$'),
    seq bigint not null default 0,
    body jsonb not null check (jsonb_typeof(body) = 'object' and octet_length(body::text) <= 1000000),
    stored_at timestamptz not null,
    primary key (device_id, booking_id, kind)
);

-- What people see, made from results. `user_id`, `camera_id`, `recording_id` are the predecessor's words.
create table if not exists public.recordings (
    device_id ezrec.id not null references public.devices (id),
    booking_id ezrec.id not null,
    user_id ezrec.id,
    state text not null,
    progress_pct integer not null default 0,
    eta_s double precision,
    why text not null default '',
    whistle_to_watchable_s double precision,
    updated_at timestamptz not null,
    primary key (device_id, booking_id)
);
create index if not exists recordings_user on public.recordings (user_id);

create table if not exists public.videos (
    device_id ezrec.id not null references public.devices (id),
    booking_id ezrec.id not null,
    name text not null,
    user_id ezrec.id,
    camera_id text not null generated always as (device_id) stored,
    recording_id text not null generated always as (booking_id) stored,
    filename text not null,
    storage_path text not null,
    bucket text,
    video_url text,
    file_size bigint not null,
    sha256 text,
    duration_seconds double precision,
    width integer,
    height integer,
    date date not null,
    uploaded_at timestamptz not null,
    removed_at timestamptz,
    primary key (device_id, booking_id, name)
);
create index if not exists videos_user on public.videos (user_id, uploaded_at);

-- Logos and intros, as cloud_bridge.stores.media says; the files are in the bucket, named by their hash.
create table if not exists public.user_media (
    whose text not null check (whose in ('user', 'organisation')),
    who ezrec.id not null,
    slot text not null check (slot in ('logo', 'sponsor1', 'sponsor2', 'sponsor3', 'intro')),
    sha256 text not null check (sha256 ~ '^[0-9a-f]{64}$'),
    bytes bigint not null check (bytes > 0),
    kind text not null check (kind in ('png', 'mp4')),
    width integer not null,
    height integer not null,
    seconds double precision,
    place text check (
        place in ('top_left', 'top_center', 'top_right', 'bottom_left', 'bottom_center', 'bottom_right')
    ),
    size double precision check (size > 0 and size <= 100),
    opacity double precision check (opacity >= 0 and opacity <= 1),
    updated_at timestamptz not null default now(),
    primary key (whose, who, slot),
    check ((slot = 'intro') = (kind = 'mp4') and (slot = 'intro') = (place is null))
);
create index if not exists user_media_sha256 on public.user_media (sha256);

create table if not exists public.assets (
    sha256 text primary key check (sha256 ~ '^[0-9a-f]{64}$'),
    unused_since timestamptz,
    removing_since timestamptz
);

-- Of a link only the hash is kept, apart from the share: a device reads shares and never a hash.
create table if not exists public.shares (
    share_id text primary key,
    n bigint generated always as identity,
    device_id ezrec.id not null,
    booking_id ezrec.id not null,
    created_at timestamptz not null,
    expires_at timestamptz not null,
    revoked_at timestamptz,
    delivered_at timestamptz,
    views integer not null default 0,
    downloads integer not null default 0,
    changed bigint not null,
    foreign key (device_id, booking_id) references public.court_bookings (device_id, id)
);
create index if not exists shares_booking on public.shares (device_id, booking_id);
create index if not exists shares_changed on public.shares (device_id, changed);

create table if not exists public.share_tokens (
    token_hash text primary key check (token_hash ~ '^[0-9a-f]{64}$'),
    share_id text not null references public.shares (share_id) on delete cascade
);
create index if not exists share_tokens_share on public.share_tokens (share_id);

-- `seen_at`: when its last row came in, by the database's clock.
create table if not exists public.device_status (
    device_id ezrec.id primary key references public.devices (id),
    seen_at timestamptz,
    state text,
    health jsonb
);

create table if not exists public.device_commands (
    device_id ezrec.id not null references public.devices (id),
    id text not null check (char_length(id) between 1 and 128),
    target text not null check (char_length(target) between 1 and 64),
    name text not null check (char_length(name) between 1 and 64),
    args jsonb not null default '{}' check (jsonb_typeof(args) = 'object' and octet_length(args::text) <= 100000),
    deadline timestamptz,
    ordered_by text,
    created_at timestamptz not null default now(),
    answer jsonb,
    answered_at timestamptz,
    changed bigint not null,
    primary key (device_id, id)
);
create index if not exists device_commands_changed on public.device_commands (device_id, changed);

create table if not exists public.notices (
    device_id ezrec.id not null references public.devices (id),
    id text not null check (char_length(id) between 1 and 300),
    n bigint generated always as identity,
    kind text not null,
    subject text not null,
    at timestamptz not null,
    data jsonb not null default '{}' check (jsonb_typeof(data) = 'object' and octet_length(data::text) <= 100000),
    created_at timestamptz not null default now(),
    expanded_at timestamptz,
    primary key (device_id, id)
);
create index if not exists notices_open on public.notices (n) where expanded_at is null;

create table if not exists public.notifications (
    id text primary key,
    n bigint generated always as identity,
    device_id ezrec.id not null references public.devices (id),
    subject text not null,
    kind text not null,
    channel text not null check (channel in ('email', 'webhook')),
    recipient text not null,
    language text not null,
    not_before timestamptz not null,
    data jsonb not null default '{}',
    created_at timestamptz not null default now(),
    state text not null default 'waiting' check (state in ('waiting', 'sent', 'given_up')),
    due_at timestamptz not null,
    attempt integer not null default 0,
    claimed_by text,
    claimed_until timestamptz,
    done_at timestamptz,
    why text,
    unique (device_id, subject, kind, channel, recipient)
);
create index if not exists notifications_due on public.notifications (n) where state = 'waiting';

create table if not exists public.recipients (
    device_id ezrec.id not null references public.devices (id),
    channel text not null check (channel in ('email', 'webhook')),
    address text not null check (char_length(address) between 1 and 2000),
    kinds text [] not null default '{}',
    language text not null default 'en',
    quiet text,
    primary key (device_id, channel, address)
);

create table if not exists public.api_tokens (
    token_hash text primary key check (token_hash ~ '^[0-9a-f]{64}$'),
    org_id ezrec.id not null references public.organisations (id),
    user_id ezrec.id not null,
    role text not null check (role in ('user', 'operator', 'admin')),
    created_at timestamptz not null default now(),
    revoked_at timestamptz
);
create index if not exists api_tokens_user on public.api_tokens (org_id, user_id);

-- The account of what was removed from the bucket; no person is in it. `verified_at` is text: empty when it never was.
create table if not exists public.removals (
    device_id ezrec.id not null references public.devices (id),
    booking_id ezrec.id not null,
    key text not null,
    verified_at text not null,
    org_id ezrec.id not null,
    bytes bigint,
    why text not null,
    at timestamptz not null,
    primary key (device_id, booking_id, key, verified_at)
);
create index if not exists removals_at on public.removals (at, key);

create table if not exists public.removal_orders (
    device_id ezrec.id not null references public.devices (id),
    booking_id ezrec.id not null,
    why text not null,
    at timestamptz not null,
    primary key (device_id, booking_id)
);

-- Who changed what: names of columns, never their values. Only ever appended to, whoever asks.
create table if not exists public.audit (
    n bigint generated always as identity primary key,
    at timestamptz not null default now(),
    role text not null,
    who text,
    org_id text,
    table_name text not null,
    operation text not null,
    key jsonb not null,
    columns text []
);
create index if not exists audit_org on public.audit (org_id, at);

do $$
declare
    v_table text;
begin
    foreach v_table in array array [
        'organisations', 'members', 'courts', 'devices', 'court_bookings', 'booking_people', 'results', 'recordings',
        'videos', 'user_media', 'assets', 'shares', 'share_tokens', 'device_status', 'device_commands',
        'device_changes', 'notices', 'notifications', 'recipients', 'api_tokens', 'removals', 'removal_orders', 'audit'
    ] loop
        execute format('alter table public.%I enable row level security', v_table);
    end loop;
    -- A hint without a person in it: which device has something new.
    if exists (select from pg_publication where pubname = 'supabase_realtime')
        and not exists (select from pg_publication_tables
                        where pubname = 'supabase_realtime' and tablename = 'device_changes') then
        alter publication supabase_realtime add table public.device_changes;
    end if;
end $$;

insert into ezrec.migrations (name) values ('0002_tables') on conflict do nothing;
