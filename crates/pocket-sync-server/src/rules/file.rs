//! rules file
/// later
#[derive(Debug)]
pub struct RulesFile;
