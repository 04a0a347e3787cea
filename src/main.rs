//! The `alfred` binary.
fn main() -> std::io::Result<()> {
    if std::env::args().nth(1).as_deref() == Some(alfred::extract::Extractor::VERB) {
        return alfred::extract::worker::run(std::io::stdin(), std::io::stdout());
    }
    Ok(())
}
