-- A post has owner, type and reference of its original's message, whose indexes find it: a second set of
-- indexes cost each post three changed pages (docs/adr/0014-speed-of-the-writer.md).
DROP INDEX posts_owner;
DROP INDEX posts_type;
DROP INDEX posts_reference;
ALTER TABLE posts DROP COLUMN owner_id;
