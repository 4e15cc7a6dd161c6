//! Moments at which a project's own SQL runs beside the migrations.

/// The name of a moment: the file `<event>.sql` or `<event>__description.sql` runs then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Event(&'static str);

macro_rules! events {
    ($($(#[$doc:meta])* $constant:ident = $name:literal;)*) => {
        impl Event {
            $($(#[$doc])* pub const $constant: Self = Self($name);)*

            /// All events that files may be named by.
            pub const ALL: &[Self] = &[$(Self::$constant),*];
        }
    };
}

events! {
    /// A connection was made.
    AFTER_CONNECT = "afterConnect";
    /// Schemas that are missing are about to be created.
    CREATE_SCHEMA = "createSchema";
    /// The same, by its newer name.
    BEFORE_CREATE_SCHEMA = "beforeCreateSchema";
    /// Before `migrate` looks for what is pending.
    BEFORE_MIGRATE = "beforeMigrate";
    /// Before each migration, in its transaction.
    BEFORE_EACH_MIGRATE = "beforeEachMigrate";
    /// Before each statement of a migration.
    BEFORE_EACH_MIGRATE_STATEMENT = "beforeEachMigrateStatement";
    /// After each statement that succeeded.
    AFTER_EACH_MIGRATE_STATEMENT = "afterEachMigrateStatement";
    /// After a statement that failed.
    AFTER_EACH_MIGRATE_STATEMENT_ERROR = "afterEachMigrateStatementError";
    /// After each migration that succeeded, in its transaction.
    AFTER_EACH_MIGRATE = "afterEachMigrate";
    /// After a migration that failed, once it is rolled back.
    AFTER_EACH_MIGRATE_ERROR = "afterEachMigrateError";
    /// After the last versioned migration.
    AFTER_VERSIONED = "afterVersioned";
    /// Before the first repeatable migration.
    BEFORE_REPEATABLES = "beforeRepeatables";
    /// After `migrate`, if it applied anything.
    AFTER_MIGRATE_APPLIED = "afterMigrateApplied";
    /// After `migrate`.
    AFTER_MIGRATE = "afterMigrate";
    /// After a `migrate` that failed.
    AFTER_MIGRATE_ERROR = "afterMigrateError";
    /// At the very end of `migrate`.
    AFTER_MIGRATE_OPERATION_FINISH = "afterMigrateOperationFinish";
    /// Before `validate`.
    BEFORE_VALIDATE = "beforeValidate";
    /// After `validate`.
    AFTER_VALIDATE = "afterValidate";
    /// After a `validate` that failed.
    AFTER_VALIDATE_ERROR = "afterValidateError";
    /// At the very end of `validate`.
    AFTER_VALIDATE_OPERATION_FINISH = "afterValidateOperationFinish";
    /// Before `info`.
    BEFORE_INFO = "beforeInfo";
    /// After `info`.
    AFTER_INFO = "afterInfo";
    /// After an `info` that failed.
    AFTER_INFO_ERROR = "afterInfoError";
    /// At the very end of `info`.
    AFTER_INFO_OPERATION_FINISH = "afterInfoOperationFinish";
    /// Before `baseline`.
    BEFORE_BASELINE = "beforeBaseline";
    /// After `baseline`.
    AFTER_BASELINE = "afterBaseline";
    /// After a `baseline` that failed.
    AFTER_BASELINE_ERROR = "afterBaselineError";
    /// At the very end of `baseline`.
    AFTER_BASELINE_OPERATION_FINISH = "afterBaselineOperationFinish";
    /// Before `repair`.
    BEFORE_REPAIR = "beforeRepair";
    /// After `repair`.
    AFTER_REPAIR = "afterRepair";
    /// After a `repair` that failed.
    AFTER_REPAIR_ERROR = "afterRepairError";
    /// At the very end of `repair`.
    AFTER_REPAIR_OPERATION_FINISH = "afterRepairOperationFinish";
    /// Before `clean`.
    BEFORE_CLEAN = "beforeClean";
    /// After `clean`.
    AFTER_CLEAN = "afterClean";
    /// After a `clean` that failed.
    AFTER_CLEAN_ERROR = "afterCleanError";
    /// At the very end of `clean`.
    AFTER_CLEAN_OPERATION_FINISH = "afterCleanOperationFinish";
    /// Only for paid editions of Flyway: recognised, never fired here.
    BEFORE_UNDO = "beforeUndo";
    /// Only for paid editions of Flyway.
    BEFORE_EACH_UNDO = "beforeEachUndo";
    /// Only for paid editions of Flyway.
    BEFORE_EACH_UNDO_STATEMENT = "beforeEachUndoStatement";
    /// Only for paid editions of Flyway.
    AFTER_EACH_UNDO_STATEMENT = "afterEachUndoStatement";
    /// Only for paid editions of Flyway.
    AFTER_EACH_UNDO_STATEMENT_ERROR = "afterEachUndoStatementError";
    /// Only for paid editions of Flyway.
    AFTER_EACH_UNDO = "afterEachUndo";
    /// Only for paid editions of Flyway.
    AFTER_EACH_UNDO_ERROR = "afterEachUndoError";
    /// Only for paid editions of Flyway.
    AFTER_UNDO = "afterUndo";
    /// Only for paid editions of Flyway.
    AFTER_UNDO_ERROR = "afterUndoError";
    /// Only for paid editions of Flyway.
    AFTER_UNDO_OPERATION_FINISH = "afterUndoOperationFinish";
}

impl Event {
    /// Its name, as files bear it.
    pub fn name(self) -> &'static str {
        self.0
    }
}
