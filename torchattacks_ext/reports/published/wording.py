"""What do subcategories of the AI RMF say, word for word? Those that an evaluation can speak of.

National Institute of Standards and Technology (2023): Artificial Intelligence Risk Management
Framework (AI RMF 1.0), NIST AI 100-1, doi:10.6028/NIST.AI.100-1, tables 2 to 4. A work of the
United States government, in the public domain.
"""

from __future__ import annotations

SOURCE = (
    "NIST (2023), Artificial Intelligence Risk Management Framework (AI RMF 1.0), NIST AI 100-1, "
    "doi:10.6028/NIST.AI.100-1, tables 2 to 4"
)

WORDING = {
    "MAP 2.3": (
        "Scientific integrity and TEVV considerations are identified and documented, including "
        "those related to experimental design, data collection and selection (e.g., availability, "
        "representativeness, suitability), system trustworthiness, and construct validation."
    ),
    "MEASURE 1.1": (
        "Approaches and metrics for measurement of AI risks enumerated during the MAP function are "
        "selected for implementation starting with the most significant AI risks. The risks or "
        "trustworthiness characteristics that will not – or cannot – be measured are properly "
        "documented."
    ),
    "MEASURE 2.1": (
        "Test sets, metrics, and details about the tools used during TEVV are documented."
    ),
    "MEASURE 2.2": (
        "Evaluations involving human subjects meet applicable requirements (including human "
        "subject protection) and are representative of the relevant population."
    ),
    "MEASURE 2.3": (
        "AI system performance or assurance criteria are measured qualitatively or quantitatively "
        "and demonstrated for conditions similar to deployment setting(s). Measures are documented."
    ),
    "MEASURE 2.4": (
        "The functionality and behavior of the AI system and its components – as identified in the "
        "MAP function – are monitored when in production."
    ),
    "MEASURE 2.5": (
        "The AI system to be deployed is demonstrated to be valid and reliable. Limitations of the "
        "generalizability beyond the conditions under which the technology was developed are "
        "documented."
    ),
    "MEASURE 2.6": (
        "The AI system is evaluated regularly for safety risks – as identified in the MAP "
        "function. The AI system to be deployed is demonstrated to be safe, its residual negative "
        "risk does not exceed the risk tolerance, and it can fail safely, particularly if made to "
        "operate beyond its knowledge limits. Safety metrics reflect system reliability and "
        "robustness, real-time monitoring, and response times for AI system failures."
    ),
    "MEASURE 2.7": (
        "AI system security and resilience – as identified in the MAP function – are evaluated and "
        "documented."
    ),
    "MEASURE 2.8": (
        "Risks associated with transparency and accountability – as identified in the MAP function "
        "– are examined and documented."
    ),
    "MEASURE 2.9": (
        "The AI model is explained, validated, and documented, and AI system output is interpreted "
        "within its context – as identified in the MAP function – to inform responsible use and "
        "governance."
    ),
    "MEASURE 2.10": (
        "Privacy risk of the AI system – as identified in the MAP function – is examined and "
        "documented."
    ),
    "MEASURE 2.11": (
        "Fairness and bias – as identified in the MAP function – are evaluated and results are "
        "documented."
    ),
    "MEASURE 2.12": (
        "Environmental impact and sustainability of AI model training and management activities – "
        "as identified in the MAP function – are assessed and documented."
    ),
    "MEASURE 2.13": (
        "Effectiveness of the employed TEVV metrics and processes in the MEASURE function are "
        "evaluated and documented."
    ),
    "MANAGE 4.1": (
        "Post-deployment AI system monitoring plans are implemented, including mechanisms for "
        "capturing and evaluating input from users and other relevant AI actors, appeal and "
        "override, decommissioning, incident response, recovery, and change management."
    ),
}
"""Subcategory -> its official wording, whole."""
