-- Boards, their starts, what they said and what they were told. All times are seconds of Unix time (UTC).

-- One physical board at one address. `life` counts how often its boot counter was found to have begun again.
CREATE TABLE boards (
  id INTEGER PRIMARY KEY,
  node INTEGER NOT NULL,
  uid TEXT NOT NULL,
  life INTEGER NOT NULL,
  first_heard INTEGER NOT NULL,
  last_heard INTEGER NOT NULL,
  boot INTEGER,
  firmware TEXT,
  schema INTEGER,
  reset INTEGER,
  reports INTEGER NOT NULL,
  events INTEGER NOT NULL,
  duplicates INTEGER NOT NULL,   -- repeats of what was stored already, refused
  same_time INTEGER NOT NULL,    -- reports that share their time with another report of the board
  full_w REAL,                   -- power of the lamp at full level, W, as learnt from reports
  last_time INTEGER, last_boot INTEGER, last_seq INTEGER,  -- key of the newest report
  UNIQUE (node, uid, life)
);

-- One start of a board. `stored` is the set of its stored sequence numbers: (board, boot, seq) is unique by it, and a
-- compact row for each boot keeps the tables below append-ordered where an index by identity would not.
CREATE TABLE boots (
  board INTEGER NOT NULL REFERENCES boards (id),
  boot INTEGER NOT NULL,
  stored BLOB NOT NULL,
  placed INTEGER,                -- Unix time of this start, as far as known
  exact INTEGER NOT NULL,        -- 1 while every message of it was stored at the time that its node gave
  made INTEGER, dropped INTEGER, pending INTEGER, health_at INTEGER,  -- of the last HEALTH
  PRIMARY KEY (board, boot)
) WITHOUT ROWID;

-- source: 0 the node's clock, 1 inferred from the start of the same boot, 2 time of arrival
CREATE TABLE reports (
  time INTEGER NOT NULL,
  board INTEGER NOT NULL,
  boot INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  source INTEGER NOT NULL,
  schema INTEGER NOT NULL,
  heard INTEGER NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (time, board, boot, seq)
) WITHOUT ROWID;

CREATE TABLE events (
  time INTEGER NOT NULL,
  board INTEGER NOT NULL,
  boot INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  source INTEGER NOT NULL,
  schema INTEGER NOT NULL,
  heard INTEGER NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (time, board, boot, seq)
) WITHOUT ROWID;

-- `wire_id` is the 16-bit number by which the node knows the command; `document` is the command as JSON.
CREATE TABLE commands (
  id INTEGER PRIMARY KEY,
  node INTEGER NOT NULL,
  wire_id INTEGER NOT NULL,
  open INTEGER NOT NULL,
  document BLOB NOT NULL
);
CREATE INDEX commands_open ON commands (id) WHERE open = 1;
CREATE INDEX commands_node ON commands (node, id);
