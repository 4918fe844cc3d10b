create table card (id text primary key);
