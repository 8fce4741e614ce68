//! What a refusal is called elsewhere: as the status of an HTTP answer, as the exit code of a command.

use crate::api::ErrorCode;

impl ErrorCode {
    /// The HTTP status of a refusal of this kind.
    pub fn status(self) -> u16 {
        match self {
            ErrorCode::Usage => 400,
            ErrorCode::Problems => 422,
            ErrorCode::Refused => 403,
            ErrorCode::NotFound => 404,
            ErrorCode::WouldBlock => 409,
            ErrorCode::Closed => 410,
            ErrorCode::Failed => 500,
            ErrorCode::NotRunning => 503,
            ErrorCode::TimedOut => 504,
        }
    }

    /// The exit code of the command that was refused so.
    pub fn exit_code(self) -> u8 {
        match self {
            ErrorCode::Failed => 1,
            ErrorCode::Usage => 2,
            ErrorCode::Problems => 3,
            ErrorCode::NotFound => 4,
            ErrorCode::NotRunning => 5,
            ErrorCode::WouldBlock => 6,
            ErrorCode::TimedOut => 7,
            ErrorCode::Closed => 8,
            ErrorCode::Refused => 9,
        }
    }
}
