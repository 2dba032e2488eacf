"""The audit trail on its way out: DICOM audit messages, and syslog that carries them."""

from whyray.audit.message import audit_message
from whyray.audit.sender import AuditSender
from whyray.audit.syslog import SyslogLink, syslog_message

__all__ = ["AuditSender", "SyslogLink", "audit_message", "syslog_message"]
