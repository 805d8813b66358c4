//! The lanes that a response can be in (A9).

/// One lane, in the order of the report. Which one takes precedence, the evaluation says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// `waiting_owner_response`
    WaitingOwnerResponse,
    /// `quarantine_secret_or_raw_payload`
    QuarantineSecretOrRawPayload,
    /// `reject_execution_request`
    RejectExecutionRequest,
    /// `request_supplement`
    RequestSupplement,
    /// `incident_recovery_backfill_required`
    IncidentRecoveryBackfillRequired,
    /// `ready_for_host_service_review`
    ReadyForHostServiceReview,
    /// `owner_review_only_update`
    OwnerReviewOnlyUpdate,
    /// `waiting_runtime_gate`
    WaitingRuntimeGate,
}

impl Lane {
    /// Every lane, in the order of the report.
    pub const ALL: [Lane; 8] = [
        Lane::WaitingOwnerResponse,
        Lane::QuarantineSecretOrRawPayload,
        Lane::RejectExecutionRequest,
        Lane::RequestSupplement,
        Lane::IncidentRecoveryBackfillRequired,
        Lane::ReadyForHostServiceReview,
        Lane::OwnerReviewOnlyUpdate,
        Lane::WaitingRuntimeGate,
    ];

    /// Its id, as reports have it.
    pub fn id(self) -> &'static str {
        match self {
            Lane::WaitingOwnerResponse => "waiting_owner_response",
            Lane::QuarantineSecretOrRawPayload => "quarantine_secret_or_raw_payload",
            Lane::RejectExecutionRequest => "reject_execution_request",
            Lane::RequestSupplement => "request_supplement",
            Lane::IncidentRecoveryBackfillRequired => "incident_recovery_backfill_required",
            Lane::ReadyForHostServiceReview => "ready_for_host_service_review",
            Lane::OwnerReviewOnlyUpdate => "owner_review_only_update",
            Lane::WaitingRuntimeGate => "waiting_runtime_gate",
        }
    }

    /// What it means, as the report of the source has it.
    pub fn meaning(self) -> &'static str {
        match self {
            Lane::WaitingOwnerResponse => {
                "尚未收到 owner response所有 accepted / runtime count 維持 0。"
            }
            Lane::QuarantineSecretOrRawPayload => {
                "收到 secret、env dump、raw compose、raw systemd unit 或未脫敏 host config 時隔離。"
            }
            Lane::RejectExecutionRequest => {
                "夾帶 SSH、docker compose、systemctl、repair-bot、Ansible、sudo 或 host write 要求時拒收。"
            }
            Lane::RequestSupplement => {
                "欄位不足、scope 不清、live hash ref / rollback / post-check 缺失時要求補件。"
            }
            Lane::IncidentRecoveryBackfillRequired => {
                "涉及服務異常、靜默重啟、端口事故或 cold-start recovery 時,必須進事故回補,不得直接 accepted。"
            }
            Lane::ReadyForHostServiceReview => {
                "metadata 合格後,只能進 host service reviewer review。"
            }
            Lane::OwnerReviewOnlyUpdate => {
                "只允許更新只讀 owner review ledger不得改 compose、systemd、repair-bot 或 Ansible。"
            }
            Lane::WaitingRuntimeGate => {
                "即使 owner response acceptedruntime gate 仍等待獨立人工批准。"
            }
        }
    }
}
