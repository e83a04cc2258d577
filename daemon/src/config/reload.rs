//! Which keys a running daemon cannot change.

use super::{
    Config,
    error::{At, ConfigError},
};

impl Config {
    /// Whether a daemon that runs with this config can go on with `new`.
    ///
    /// # Errors
    ///
    /// The first key that would have to change and cannot.
    pub fn check_reload(&self, new: &Self) -> Result<(), ConfigError> {
        let listen = |config: &Self| {
            let listen: Vec<String> = config.listen.iter().map(ToString::to_string).collect();
            listen.join(", ")
        };
        let recovery = |config: &Self| format!("{:?}", config.chain.recovery);
        let fixed = [
            ("node.name", self.node.clone(), new.node.clone()),
            ("node.listen", listen(self), listen(new)),
            (
                "node.runtime_dir",
                self.runtime_dir.display().to_string(),
                new.runtime_dir.display().to_string(),
            ),
            ("node.mtu", self.mtu.to_string(), new.mtu.to_string()),
            ("node.max_mtu", self.max_mtu.to_string(), new.max_mtu.to_string()),
            ("chain.adaptive", recovery(self), recovery(new)),
        ];
        match fixed.into_iter().find(|(_, before, after)| before != after) {
            None => Ok(()),
            Some((key, before, after)) => Err(At::program(key).error(format!(
                "cannot change from {before} to {after} while msgd runs; nothing was reloaded: restart msgd, or take it \
                 back"
            ))),
        }
    }
}
