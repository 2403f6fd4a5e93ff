-- The custodian's books. Money is in accounts and in held legs, nowhere else: the sum of both never changes by a leg.
-- An account is opened, and money brought in, by the operator's own SQL, with the payer's key for a name:
--   insert into accounts values (decode('19e7e376e7c213b7e7e7e46cc70a5dd086daff2a', 'hex'), 5000);

create table if not exists accounts (
    account bytea primary key check (length(account) = 20),
    balance numeric(39) not null check (balance >= 0)
);

create table if not exists legs (
    txid       bytea not null check (length(txid) = 32),
    leg        integer not null check (leg between 0 and 63),
    state      text not null check (state in ('held', 'returned', 'paid', 'armed', 'settled', 'refunded')),
    amount     numeric(39) not null check (amount > 0),
    decided_at bigint,                       -- milliseconds, once armed
    decision   bytea,                        -- the proof by which it was moved
    primary key (txid, leg)
);
alter table legs add column if not exists decision bytea;

-- Every statement that was ever signed. The row before it is in its reference, so that a changed past shows.
create table if not exists statements (
    height bigint primary key,
    txid   bytea not null,
    leg    integer not null,
    body   bytea not null,                   -- the signed statement, as it was sent
    foreign key (txid, leg) references legs
);
create index if not exists statements_of_a_leg on statements (txid, leg, height);

-- One row: the end of the book. Locking it orders all statements.
create table if not exists book (
    one       boolean primary key default true check (one),
    height    bigint not null,
    at        bigint not null,               -- milliseconds
    reference bytea not null
);
insert into book values (true, 0, 0, decode(repeat('00', 32), 'hex')) on conflict do nothing;
