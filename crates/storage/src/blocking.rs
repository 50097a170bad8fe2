//! Work that blocks, for callers that must not.

use tokio::task;

use crate::StorageError;

/// Does it on a thread that may block. Once begun it ends, also if nobody waits for it any more.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
) -> Result<T, StorageError> {
    match task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(StorageError::ShutDown),
        },
    }
}
