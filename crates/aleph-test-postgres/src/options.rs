//! How a test's server is set up.

/// Settings of a server. Memory is kept small: tests start many.
#[derive(Debug, Clone)]
pub struct Options {
    settings: Vec<(String, String)>,
    /// Certificate and key, as PEM.
    certificate: Option<(String, String)>,
}

impl Options {
    /// Nothing is forced to the disk: quick, and a kill of the *machine* would lose data. A killed
    /// server (even with -9) loses nothing, for the system keeps what was written.
    pub fn fast() -> Self {
        Self::durable()
            .setting("fsync", "off")
            .setting("synchronous_commit", "off")
            .setting("full_page_writes", "off")
    }

    /// As an operator runs it: every commit is on the disk before it is answered.
    pub fn durable() -> Self {
        let settings = [
            ("fsync", "on"),
            ("synchronous_commit", "on"),
            ("full_page_writes", "on"),
            ("shared_buffers", "32MB"),
            ("max_connections", "60"),
            ("max_wal_size", "256MB"),
            ("max_parallel_workers_per_gather", "0"),
            ("jit", "off"),
            // after a crash one sync of the file system, not one of each of a thousand files: 0.2 s
            // in place of 3 s
            ("recovery_init_sync_method", "syncfs"),
            // files in the server's own folder: nothing stays in /dev/shm after a kill -9
            ("dynamic_shared_memory_type", "mmap"),
            ("lc_messages", "C"),
            ("timezone", "UTC"),
        ];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        Self { settings, certificate: None }
    }

    /// Offers encrypted connections with this certificate and its key, both as PEM.
    #[must_use]
    pub fn encrypted(self, certificate: &str, key: &str) -> Self {
        Self { certificate: Some((certificate.to_owned(), key.to_owned())), ..self }
            .setting("ssl", "on")
            .setting("ssl_cert_file", "../certificate.pem")
            .setting("ssl_key_file", "../key.pem")
    }

    /// Files of the server's folder with what they hold.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let certificate = self.certificate.iter();
        certificate.flat_map(|(certificate, key)| [("certificate.pem", &**certificate), ("key.pem", &**key)])
    }

    /// Sets a setting of `postgresql.conf`; the last word wins.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.retain(|(known, _)| known != name);
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Arguments of `postgres`.
    pub(crate) fn arguments(&self) -> impl Iterator<Item = String> {
        self.settings.iter().flat_map(|(name, value)| ["-c".to_owned(), format!("{name}={value}")])
    }
}

impl Default for Options {
    /// [`Options::fast`].
    fn default() -> Self {
        Self::fast()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_wins() {
        let arguments: Vec<String> = Options::fast().setting("fsync", "on").arguments().collect();
        assert!(arguments.contains(&"fsync=on".to_owned()), "{arguments:?}");
        assert!(!arguments.contains(&"fsync=off".to_owned()), "{arguments:?}");
    }
}
