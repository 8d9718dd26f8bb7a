"""Networks exported to other formats, pushed to the Hugging Face Hub, and verified."""
