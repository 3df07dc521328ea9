pub(crate) fn new(_: &crate::cli::New) -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
pub(crate) fn build(_: &crate::cli::Build) -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
pub(crate) fn keygen(_: &crate::cli::Keygen) -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
