"""Alerts: scores over the line → firing and resolved. `alerter` for columns, `machine` for one window at a time."""

from monitor.alert.alerter import Alerter
from monitor.alert.event import RULE, SEVERITIES, Alert, Expiry, alert_id
from monitor.alert.settings import AlertSettings, Severity

__all__ = ["RULE", "SEVERITIES", "Alert", "AlertSettings", "Alerter", "Expiry", "Severity", "alert_id"]
