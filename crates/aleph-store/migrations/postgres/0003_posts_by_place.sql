-- A post is found by the place of its message: new posts are appended to the key, where a key of hashes
-- would touch a page of its own for each. `statuses` leads from a hash to the place.
ALTER TABLE posts DROP CONSTRAINT posts_pkey;
ALTER TABLE posts ADD PRIMARY KEY (message);
