//! The checks that a response has to pass (A8): one table, for the report, the evaluation, the comment and the console.

/// One check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// `owner_identity_present`
    OwnerIdentityPresent,
    /// `decision_reason_present`
    DecisionReasonPresent,
    /// `affected_scope_matches_surface`
    AffectedScopeMatchesSurface,
    /// `redacted_refs_only`
    RedactedRefsOnly,
    /// `secret_value_absent`
    SecretValueAbsent,
    /// `live_config_hash_metadata_only`
    LiveConfigHashMetadataOnly,
    /// `maintenance_window_present`
    MaintenanceWindowPresent,
    /// `restart_window_separate_from_action`
    RestartWindowSeparateFromAction,
    /// `rollback_owner_present`
    RollbackOwnerPresent,
    /// `post_check_plan_present`
    PostCheckPlanPresent,
    /// `disable_switch_present`
    DisableSwitchPresent,
    /// `config_source_of_truth_present`
    ConfigSourceOfTruthPresent,
    /// `service_dependency_map_present`
    ServiceDependencyMapPresent,
    /// `port_binding_inventory_present`
    PortBindingInventoryPresent,
    /// `cold_start_sequence_present`
    ColdStartSequencePresent,
    /// `incident_recovery_evidence_present`
    IncidentRecoveryEvidencePresent,
    /// `daemon_runner_contention_reviewed`
    DaemonRunnerContentionReviewed,
    /// `silent_restart_not_accepted`
    SilentRestartNotAccepted,
    /// `write_capable_requires_extra_review`
    WriteCapableRequiresExtraReview,
    /// `no_runtime_request`
    NoRuntimeRequest,
    /// `counts_transition_safe`
    CountsTransitionSafe,
}

/// What there is to say about a check.
#[derive(Debug)]
pub struct Row {
    /// Which.
    pub check: Check,
    /// Its id, as reports have it.
    pub id: &'static str,
    /// Its instruction, as the report of the source has it.
    pub instruction: &'static str,
    /// What it asks for.
    pub asks: &'static str,
    /// What to write where it fails.
    pub write: &'static str,
}

impl Check {
    /// Its row.
    pub fn row(self) -> &'static Row {
        &CHECKS[self as usize]
    }
}

/// Every check, in the order of the report, which is also that of [`Check`].
pub static CHECKS: [Row; 21] = [
    Row {
        check: Check::OwnerIdentityPresent,
        id: "owner_identity_present",
        instruction: "owner role / team 必須可追溯。",
        asks: "a person of the roster answers, and the forge or a signed tag says that it was them",
        write: "owner_role_or_team: <os_user>, and open the pull request with the forge account that the person's forge_user names",
    },
    Row {
        check: Check::DecisionReasonPresent,
        id: "decision_reason_present",
        instruction: "decision 與 decision reason 必須同時存在。",
        asks: "there are both a decision and its reason",
        write: "decision: what was decided; and decision_reason: one sentence",
    },
    Row {
        check: Check::AffectedScopeMatchesSurface,
        id: "affected_scope_matches_surface",
        instruction: "affected scope 必須能對回 committed surface_id。",
        asks: "the scope is the surface that was asked about",
        write: "affected_scope: the surface_id, exactly",
    },
    Row {
        check: Check::RedactedRefsOnly,
        id: "redacted_refs_only",
        instruction: "evidence 只能是脫敏 ref、hash、ticket、commit 或 artifact pointer。",
        asks: "evidence is a hash, a ticket, a commit or a pointer to an artifact, never the thing itself",
        write: "redacted_evidence_refs: a list of sha256:…, commit:…, ticket:…, artifact:…, uuid:… or ref:…",
    },
    Row {
        check: Check::SecretValueAbsent,
        id: "secret_value_absent",
        instruction: "不得出現 token、password、cookie、private key、env dump 或 partial secret。",
        asks: "nothing in it looks like a token, a password, a cookie, a private key or a dump of an environment",
        write: "rotate what was written; then answer without it",
    },
    Row {
        check: Check::LiveConfigHashMetadataOnly,
        id: "live_config_hash_metadata_only",
        instruction: "live config hash 只能是 owner-provided metadata ref不得貼 raw live config。",
        asks: "the live configuration is told by its digest alone",
        write: "live_config_hash_ref: sha256:<64 hex digits>",
    },
    Row {
        check: Check::MaintenanceWindowPresent,
        id: "maintenance_window_present",
        instruction: "未來 host read、restart、repair-bot 或 Ansible 動作需獨立維護窗口。",
        asks: "whatever is done later has a maintenance window of its own",
        write: "maintenance_window: for example \"Sun 02:00-04:00 UTC\"",
    },
    Row {
        check: Check::RestartWindowSeparateFromAction,
        id: "restart_window_separate_from_action",
        instruction: "restart window 與 docker / systemctl action 必須分離,不得自動執行。",
        asks: "the restart has a window of its own, and nothing happens by itself in it",
        write: "restart_window: another one than maintenance_window",
    },
    Row {
        check: Check::RollbackOwnerPresent,
        id: "rollback_owner_present",
        instruction: "rollback owner、rollback ref 或 disable path 必須存在。",
        asks: "a person of the roster owns the way back",
        write: "rollback_owner: <os_user>",
    },
    Row {
        check: Check::PostCheckPlanPresent,
        id: "post_check_plan_present",
        instruction: "post-check 必須列服務健康、route、queue、log 與 rollback 停止條件。",
        asks: "what is looked at afterwards, and when one goes back, is written down",
        write: "post_check_plan: service health, route, queue, log, and when to go back",
    },
    Row {
        check: Check::DisableSwitchPresent,
        id: "disable_switch_present",
        instruction: "repair-bot、Ansible role 或 service config 需有 disable switch 或 freeze rule。",
        asks: "there is a switch or a rule that freezes it",
        write: "disable_switch: the switch, or the rule",
    },
    Row {
        check: Check::ConfigSourceOfTruthPresent,
        id: "config_source_of_truth_present",
        instruction: "必須提供 repo source、live source、runner source 與 backup source 的真相來源 ref不得只用口頭描述。",
        asks: "repository, live, runner and backup sources are referred to",
        write: "config_source_of_truth_ref: a ref such as ticket:OPS-12",
    },
    Row {
        check: Check::ServiceDependencyMapPresent,
        id: "service_dependency_map_present",
        instruction: "必須提供服務依賴 ref涵蓋上游、下游、資料庫、queue、registry、AI provider 與 public route 影響。",
        asks: "what it depends on, and what depends on it, is referred to",
        write: "service_dependency_map_ref: a ref",
    },
    Row {
        check: Check::PortBindingInventoryPresent,
        id: "port_binding_inventory_present",
        instruction: "必須提供 port binding / exposure inventory ref避免 host port、container port、proxy 與防火牆狀態彼此漂移。",
        asks: "its ports and where they are exposed are referred to",
        write: "port_binding_inventory_ref: a ref",
    },
    Row {
        check: Check::ColdStartSequencePresent,
        id: "cold_start_sequence_present",
        instruction: "必須提供 cold-start / recovery sequence ref明確列出 Docker daemon、compose stack、systemd unit、runner 與 post-check 順序。",
        asks: "the order of a cold start is referred to",
        write: "cold_start_sequence_ref: a ref",
    },
    Row {
        check: Check::IncidentRecoveryEvidencePresent,
        id: "incident_recovery_evidence_present",
        instruction: "若回覆涉及服務異常、重啟或端口事故必須提供恢復時間、服務健康、route health 與 operator notice ref。",
        asks: "where an incident is touched, its recovery is referred to",
        write: "incident_recovery_evidence_ref: a ref; where there was no incident, incident: none",
    },
    Row {
        check: Check::DaemonRunnerContentionReviewed,
        id: "daemon_runner_contention_reviewed",
        instruction: "必須說明 Docker daemon、iptables / xtables、runner、repair-bot、backup job 或 compose action 是否可能互相競爭。",
        asks: "who competes for the daemon, the firewall, the runner and the backup was looked at",
        write: "daemon_runner_contention_ref: a ref",
    },
    Row {
        check: Check::SilentRestartNotAccepted,
        id: "silent_restart_not_accepted",
        instruction: "不得接受沒有 actor、原因、依賴圖、port inventory、回滾與 post-check 的靜默 restart / reload。",
        asks: "no restart without actor, reason, dependencies, ports, way back and checks",
        write: "fill in the fields about incidents, rollback_owner and post_check_plan, and restart_actor: <os_user>",
    },
    Row {
        check: Check::WriteCapableRequiresExtraReview,
        id: "write_capable_requires_extra_review",
        instruction: "write-capable surface 必須進額外 reviewer review不得直接 accepted。",
        asks: "a surface that can be written to is accepted by a review that says it looked further",
        write: "in the review: extra_review: true",
    },
    Row {
        check: Check::NoRuntimeRequest,
        id: "no_runtime_request",
        instruction: "夾帶 SSH、Docker、systemctl、repair-bot、Ansible、sudo 或 host write 要求時拒收。",
        asks: "it asks nobody to run, restart, apply or write anything",
        write: "take the request out; whoever acts does so elsewhere, by other means",
    },
    Row {
        check: Check::CountsTransitionSafe,
        id: "counts_transition_safe",
        instruction: "只有 reviewer record 可更新 received / accepted / rejected不得同時開 runtime gate。",
        asks: "only a review by somebody else than the responder, and not by the only owner, moves it on",
        write: "services/reviews/<surface>.yaml, written by another person of the roster",
    },
];
